"""The `networks` of a configuration and a detector -> the measures of a run, offline stand-ins included."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from data_pipeline.records import SPECIES, Species
from evaluation.metrics.experts import ExpertDistance, ExpertName
from evaluation.metrics.faces import ARCFACE_112, Detector
from evaluation.metrics.features import FeatureDistance, stand_in_distance
from evaluation.metrics.identity import GalleryRank, IdentityKept, IdentityReader, stand_in_reader
from evaluation.metrics.network_file import NetworkFile, opened
from evaluation.metrics.suite import Measure, SetMeasure

EXPERTS: dict[str, ExpertName] = {"expression": "aed", "pose": "apd", "gaze": "gaze_mae"}
"""Key in the configuration -> the metric that it makes measurable."""
KINDS = ("identity", "features", *EXPERTS)
TEMPLATES = {"arcface": ARCFACE_112}
"""Names that a configuration may give instead of five points."""


class Measures(NamedTuple):
    """What a run measures beside the image metrics of the suite."""

    per_pair: Sequence[Measure]
    of_set: Sequence[SetMeasure]
    files: dict[str, Path]
    """Which network came from which file: other files, other numbers."""


def standard_measures(detector: Detector | None, networks: Mapping[str, Any] | None = None) -> Measures:
    """Identity, features and experts from local files where they are given; stand-ins for identity and features.

    Args:
        detector: finds the heads that are looked at; None: known points are used.
        networks: `features` -> options of one `NetworkFile`; `identity`, `expression`, `pose`, `gaze` -> species ->
            such options. `template` may be `arcface`. None or {}: none is given.

    Raises:
        ValueError: an option is unknown, or a file is missing or no network.
    """
    given = {kind: found for kind, found in (networks or {}).items() if found}
    if unknown := sorted(set(given) - set(KINDS)):
        raise ValueError(f"networks.{unknown[0]} is unknown; choose among {', '.join(KINDS)}")
    files: dict[str, Path] = {}
    features = None
    if "features" in given:
        features = files_network(given["features"], "networks.features")
        files["features"] = features.path
    by_kind: dict[str, dict[Species, NetworkFile]] = {}
    for kind in ("identity", *EXPERTS):
        by_kind[kind] = _by_species(given.get(kind, {}), f"networks.{kind}")
        files |= {f"{kind} {species}": network.path for species, network in by_kind[kind].items()}
    identity, look = IdentityReader(by_kind["identity"], detector), stand_in_reader(detector)
    experts = [ExpertDistance(name, by_kind[kind], detector) for kind, name in EXPERTS.items()]
    return Measures(
        per_pair=[IdentityKept(identity), IdentityKept(look), *experts],
        of_set=[GalleryRank(identity), GalleryRank(look), FeatureDistance(features), stand_in_distance()],
        files=files,
    )


def files_network(options: Mapping[str, Any], where: str) -> NetworkFile:
    """One network of a configuration, opened once so that a wrong file shows before anything is measured.

    Raises:
        ValueError: an option is unknown, or the file is missing or no network.
    """
    chosen = {name: _plain(name, value, where) for name, value in options.items()}
    known = NetworkFile.__dataclass_fields__
    if unknown := sorted(set(chosen) - set(known)):
        raise ValueError(f"{where}.{unknown[0]} is unknown; choose among {', '.join(known)}")
    if missing := sorted({"path", "side_px"} - set(chosen)):
        raise ValueError(f"{where}.{missing[0]} is missing; a network needs a path and the side of its squares")
    network = NetworkFile(**chosen)
    opened(network.path)
    return network


def _plain(name: str, value: Any, where: str) -> Any:  # noqa: ANN401 - an option of any kind
    """An option as a configuration gives it -> as `NetworkFile` takes it."""
    if isinstance(value, str) and name == "template":
        if value not in TEMPLATES:
            raise ValueError(f"{where}.template={value!r} is unknown; give arcface, five points, or null")
        return TEMPLATES[value]
    try:
        if name == "path":
            return Path(value)
        if name in ("mean", "std"):
            red, green, blue = (float(one) for one in value)
            return red, green, blue
        if name == "template" and value is not None:
            return tuple((float(x), float(y)) for x, y in value)
        if name == "outputs" and value is not None:
            first, last = (int(one) for one in value)
            return first, last
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}.{name}={value} does not fit; see evaluation/metrics/network_file.py") from error
    return value


def _by_species(options: Mapping[str, Any], where: str) -> dict[Species, NetworkFile]:
    if unknown := sorted(set(options) - set(SPECIES)):
        raise ValueError(f"{where}.{unknown[0]} is no species; choose among {', '.join(SPECIES)}")
    return {
        species: files_network(options[species], f"{where}.{species}") for species in SPECIES if options.get(species)
    }
