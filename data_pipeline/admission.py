"""Samples that a looser gate lets in -> which are copies of others, and the cluster and split of each."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from data_pipeline.clusters import UnionFind
from data_pipeline.dedup import Fingerprint, Match, NearDuplicates, worse_copies
from data_pipeline.hashes import thumbnails
from data_pipeline.ledger import id_hashes
from data_pipeline.lookup import fingerprint_of
from data_pipeline.shards import TRUTH_MEMBER, from_members, read_groups
from data_pipeline.split import Splitter
from data_pipeline.thumb_store import NOTES, note_to_thumbs

WORK = ".work"
TIES = ("key", "identity", "source_id", "performance", "split", "cluster")
"""What is kept of a record while samples are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A sample in `.work`: what ties it to others, and where its members are."""

    record: dict[str, Any]
    fingerprint: Fingerprint
    tar: Path
    offset: int

    @property
    def key(self) -> str:
        """The sample's key."""
        return self.record["key"]


class Admission(NamedTuple):
    """What becomes of samples that are let in."""

    place_of: dict[str, dict[str, str]]
    """Key -> its cluster and split, for those that are packed."""
    copies: frozenset[str]
    """Left out: a sample that stays shows the same."""
    between: frozenset[str]
    """Left out: tied to samples of two splits, by animal, file or likeness, so that either place would leak."""
    counted: dict[str, int]
    """The manifest's `duplicates`."""


def in_work(folder: Path, keys: Collection[str], gone: Collection[str]) -> Iterator[Stored]:
    """Samples with these keys that `.work` holds, each once, but for what was taken down."""
    seen: set[str] = set()
    for tar in sorted((folder / WORK).glob("*.tar")) if keys else ():
        for group in read_groups(tar, {"json", NOTES}):
            if group.key in keys and group.key not in seen:
                record, notes = json.loads(group.members["json"]), json.loads(group.members[NOTES])
                if id_hashes(record).isdisjoint(gone):
                    seen.add(group.key)
                    mark = fingerprint_of(record, note_to_thumbs(notes), bool(notes["exempt"]))
                    yield Stored(record=ties_of(record), fingerprint=mark, tar=tar, offset=group.offset)


def in_shards(paths: Iterable[Path], keys: Collection[str]) -> Iterator[Fingerprint]:
    """Fingerprints of packed samples with these keys, which are decoded for it: for those that `.work` lacks."""
    for path in paths if keys else ():
        for group in read_groups(path):
            if group.key in keys:
                record = json.loads(group.members["json"])
                thumbs = thumbnails(from_members(group.members).frames)
                yield fingerprint_of(record, thumbs, TRUTH_MEMBER in group.members)


def ties_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a sample's record that tells what it belongs to."""
    return {name: record[name] for name in TIES if name in record}


@dataclass(slots=True, kw_only=True)
class Admitter:
    """Decides with the duplicates and splitter settings that the shards were made with."""

    find: NearDuplicates
    splitter: Splitter
    workers: int = 1

    @classmethod
    def of_manifest(cls, manifest: Mapping[str, Any], workers: int = 1) -> "Admitter":
        """With the settings in a manifest's config; what it lacks has its default."""
        config = manifest.get("config", {})
        curation = config.get("curation", {})
        return cls(
            find=NearDuplicates(**_known(NearDuplicates, config.get("duplicates", {}))),
            splitter=Splitter(**_known(Splitter, curation.get("splitter", {}))),
            workers=workers,
        )

    def __call__(
        self,
        packed: Sequence[Mapping[str, Any]],
        marks: Sequence[Fingerprint],
        twins: Sequence[Stored],
        wanted: Sequence[Stored],
    ) -> Admission:
        """Compare what is wanted with all that is there.

        Args:
            packed: records of the samples that stay; their splits and clusters do not change.
            marks: their fingerprints.
            twins: near-duplicates that curation left out; they tie their animal and file to what they copy.
            wanted: what the gate lets in.
        """
        new = {one.key for one in (*twins, *wanted)}
        matches = self.find.matches(
            [*marks, *(one.fingerprint for one in (*twins, *wanted))], workers=self.workers, among=new
        )
        copies = self._copies(marks, wanted, matches)
        clusters, ties = UnionFind(), UnionFind()
        home: dict[object, str] = {}
        for record in packed:
            clusters.join(record["key"], ("cluster", record.get("cluster", record["key"])))
            for tie in self._ties(record):
                ties.join(("key", record["key"]), tie)
        for record in packed:
            home[ties.root(("key", record["key"]))] = record["split"]
        between = self._join([*twins, *wanted], matches, ties, home)
        for match in matches:
            if not {match.a, match.b} & between:
                clusters.join(match.a, match.b)
        admitted = [one for one in wanted if one.key not in copies | between]
        names = _cluster_names(packed, admitted, clusters)
        splits = self._splits(admitted, ties, home)
        everyone = [r["key"] for r in packed] + [one.key for one in (*twins, *wanted) if one.key not in between]
        sizes = Counter(clusters.root(key) for key in everyone)
        several = [size for size in sizes.values() if size > 1]
        left_out = len(twins) + len(copies)
        return Admission(
            place_of={one.key: {"cluster": names[one.key], "split": splits[one.key]} for one in admitted},
            copies=frozenset(copies),
            between=frozenset(between & {one.key for one in wanted} - copies),
            counted={"clusters": len(several), "samples_in_clusters": sum(several), "dropped": left_out},
        )

    def _copies(self, marks: Sequence[Fingerprint], wanted: Sequence[Stored], matches: Sequence[Match]) -> set[str]:
        """What is packed stays whatever its rank: its shard is not to be rewritten for a copy of it."""
        if not self.find.drop:
            return set()
        packed, new = {mark.key for mark in marks}, {one.key for one in wanted}
        pairs = [pair for m in matches if m.same_kind for pair in ((m.a, m.b), (m.b, m.a))]
        found = {one for one, other in pairs if one in new and other in packed}
        rest = [one.fingerprint for one in wanted if one.key not in found]
        left = {mark.key for mark in rest}
        return found | set(worse_copies(rest, [m for m in matches if {m.a, m.b} <= left]))

    def _join(
        self, some: Sequence[Stored], matches: Sequence[Match], ties: UnionFind, home: dict[object, str]
    ) -> set[str]:
        """Tie samples to their groups one by one; those that would tie two splits together are left alone and told."""
        copies_of: dict[str, list[str]] = {}
        for match in matches:
            copies_of.setdefault(match.a, []).append(match.b)
            copies_of.setdefault(match.b, []).append(match.a)
        between: set[str] = set()
        for one in some:
            mine = [*self._ties(one.record), *(("key", other) for other in copies_of.get(one.key, ()))]
            mine = [tie for tie in mine if not (tie[0] == "key" and tie[1] in between)]
            splits = {home[root] for tie in mine if (root := ties.root(tie)) in home}
            if len(splits) > 1:
                between.add(one.key)
                continue
            for tie in mine:
                split = {home.pop(root) for root in (ties.root(("key", one.key)), ties.root(tie)) if root in home}
                ties.join(("key", one.key), tie)
                home |= dict.fromkeys([ties.root(tie)], split.pop()) if split else {}
        return between

    def _splits(self, admitted: Sequence[Stored], ties: UnionFind, home: Mapping[object, str]) -> dict[str, str]:
        """The split of the group; of a group of newcomers only, what the splitter says of its smallest identity."""
        smallest: dict[object, str] = {}
        for one in admitted:
            root = ties.root(("key", one.key))
            smallest[root] = min(smallest.get(root, one.record["identity"]), one.record["identity"])
        found = {}
        for one in admitted:
            root = ties.root(("key", one.key))
            found[one.key] = home.get(root) or self.splitter(smallest[root])
        return found

    def _ties(self, record: Mapping[str, Any]) -> list[tuple[str, str]]:
        """As the splitter ties samples, but for clusters of newcomers, which come from the matches."""
        found = [("identity", record["identity"]), ("source", record["source_id"])]
        if "cluster" in record:
            found.append(("cluster", record["cluster"]))
        if self.splitter.performances_together and record["performance"]:
            found.append(("performance", record["performance"]))
        return found


def _cluster_names(
    packed: Sequence[Mapping[str, Any]], admitted: Sequence[Stored], clusters: UnionFind
) -> dict[str, str]:
    """Of a group with packed samples the name it has; else the smallest key in it."""
    names: dict[object, str] = {}
    for record in sorted(packed, key=lambda r: r.get("cluster", r["key"])):
        names.setdefault(clusters.root(record["key"]), record.get("cluster", record["key"]))
    for one in sorted(admitted, key=lambda one: one.key):
        names.setdefault(clusters.root(one.key), one.key)
    return {one.key: names[clusters.root(one.key)] for one in admitted}


def _known(of: type, config: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(of)}
    return {name: value for name, value in config.items() if name in names}
