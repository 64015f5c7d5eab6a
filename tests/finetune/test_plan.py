from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.deck import Deck
from finetune.mixture import Mixture
from finetune.partners import Partners, overlap
from finetune.plan import Plan, Room
from finetune.shard_index import ClipCard

SIZE = 1000


def card(number: int, shard: int = 0, species: int = 1, **options) -> ClipCard:
    given = {
        "key": f"k{number}", "shard": shard, "offset": 0, "num_bytes": SIZE, "kept_bytes": SIZE, "species": species,
        "kind": "video", "has_truth": True, "start": 0, "stride": 1, "num_frames": 6, "identity": f"i{number}",
        "performance": "",
    }  # fmt: skip
    return ClipCard(**{**given, **options})


def streamed(num_clips: float, visits: int = 8) -> Room:
    return Room(window_bytes=float(num_clips * SIZE), visits=visits)


def mixed(num_shards: int, per_shard: int = 12) -> list[ClipCard]:
    """Cats and people, puppets and real media, clips and stills; two performances, spread over the shards."""
    cards = []
    for n in range(num_shards * per_shard):
        shown = {"num_frames": 1, "kind": "image"} if n % 6 == 5 else {"performance": f"p{n % 2}"}
        cards.append(card(n, n // per_shard, (n // 2) % 2, has_truth=n % 3 > 0, **shown))
    return cards


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=7), st.sampled_from([1, 2, 3, 5]), st.floats(0.05, 1.2),
    st.integers(1, 4),
)  # fmt: skip
def test_every_clip_is_drawn_equally_often_and_leaves_for_good(sizes, world, room_frac, visits):
    numbers = iter(range(sum(sizes)))
    shards = [[next(numbers) for _ in range(size)] for size in sizes]
    decks = [
        Deck(shards=shards, seed=(3,), rank=rank, world=world, room_frac=room_frac, visits=visits)
        for rank in range(world)
    ]
    for deck in decks:
        assert deck.num_clips >= 1
        rows = [deck.at(row) for row in range(3 * deck.num_clips * deck.window.visits)]
        places = Counter(place for _, place in rows)
        # A visit that has ended was made of exactly as many draws as a visit is to have.
        ended = [place for place in places if place < max(places) - 2 * deck.window.clips]
        assert all(places[place] == deck.window.visits for place in ended)
        for start in range(0, len(rows) - deck.window.clips, deck.window.clips):
            now = {place for _, place in rows[start : start + deck.window.clips]}
            assert max(now) - min(now) < 2 * deck.window.clips
        assert {number for number, _ in rows} <= set(range(sum(sizes)))
    if world <= sum(sizes):
        first_epoch = [
            {number for number, place in map(deck.at, range(3 * deck.num_clips * deck.window.visits))
             if place < deck.num_clips}
            for deck in decks
        ]  # fmt: skip
        assert sorted(n for found in first_epoch for n in found) == list(range(sum(sizes)))
        assert max(map(len, first_epoch)) - min(map(len, first_epoch)) <= 1


def test_a_deck_starts_anywhere_without_what_came_before():
    shards = [list(range(i, i + 10)) for i in range(0, 50, 10)]
    going = Deck(shards=shards, seed=(1,), room_frac=0.4)
    wanted = [going.at(row) for row in range(2000)]
    for row in (0, 1, 777, 1999):
        assert Deck(shards=shards, seed=(1,), room_frac=0.4).at(row) == wanted[row]
    assert [Deck(shards=shards, seed=(2,), room_frac=0.4).at(row) for row in range(50)] != wanted[:50]


def test_a_rank_reads_few_shards_in_an_epoch():
    shards = [list(range(i, i + 10)) for i in range(0, 80, 10)]
    for rank in range(4):
        deck = Deck(shards=shards, seed=(1,), rank=rank, world=4, room_frac=0.5)
        numbers = {number for number, place in (deck.at(row) for row in range(160)) if place < deck.num_clips}
        assert len({number // 10 for number in numbers}) == 2


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("num_shards", range(1, 8))
def test_all_ranks_together_keep_the_shares_with_any_number_of_shards(world, num_shards):
    cards = mixed(num_shards)
    mixture = Mixture(real_frac=0.25, still_frac=0.2, cross_frac=0.5, species={"human": 1.0, "cat": 3.0})
    plans = [Plan(cards, mixture, streamed(6), seed=1, rank=rank, world=world) for rank in range(world)]
    draws = [plan.draw(row) for plan in plans for row in range(200)]
    total = len(draws)
    of = [cards[draw.clip] for draw in draws]
    assert abs(sum(not c.is_video for c in of) - 0.2 * total) < 1
    assert abs(sum(c.species == 1 for c in of) - 0.75 * total) < 2 + world
    assert abs(sum(not c.has_truth for c in of) - 0.25 * total) < 4 + 2 * world
    puppets = sum(c.has_truth and c.is_video for c in of)
    assert abs(sum(draw.partner is not None for draw in draws) - 0.5 * puppets) < 4 + 2 * world
    for draw in draws:
        if draw.partner is not None:
            one, other = cards[draw.clip], cards[draw.partner]
            assert one.performance == other.performance
            assert one.identity != other.identity


def test_a_species_in_one_shard_only_reaches_every_rank():
    cards = [card(n, n // 10, 0) for n in range(40)] + [card(40 + n, 4, 3) for n in range(2)]
    for rank in range(3):
        plan = Plan(cards, Mixture(), streamed(4), rank=rank, world=3)
        of = [cards[plan.draw(row).clip].species for row in range(100)]
        assert of.count(3) == 50
    assert "fewer panda clips than processes" in plan.describe()


def test_few_clips_that_can_be_driven_still_give_the_cross_share():
    cards = [card(n, 0, 1) for n in range(30)]
    cards += [card(30 + n, 0, 1, performance="p") for n in range(2)]
    plan = Plan(cards, Mixture(cross_frac=0.4), Room())
    draws = [plan.draw(row) for row in range(300)]
    assert sum(draw.partner is not None for draw in draws) == pytest.approx(120, abs=1)
    assert {draw.clip for draw in draws if draw.partner is None} <= set(range(30))
    assert "2 of 32 of the cat puppet clips can be driven by another" in plan.describe()


def test_clips_have_equal_weight_where_the_cross_share_allows_it():
    cards = [card(n, 0, 1) for n in range(5)] + [card(5 + n, 0, 1, performance="p") for n in range(5)]
    plan = Plan(cards, Mixture(cross_frac=0.4), Room())
    draws = [plan.draw(row) for row in range(1000)]
    assert set(Counter(draw.clip for draw in draws).values()) == {100}
    assert sum(draw.partner is not None for draw in draws) == 400


def test_no_partner_anywhere_is_said():
    plan = Plan([card(n, performance=f"own{n}") for n in range(4)], Mixture(), Room())
    assert all(plan.draw(row).partner is None for row in range(40))
    assert "none of the cat puppet clips can be driven by another" in plan.describe()


def test_drivers_follow_their_shares_and_fit():
    cards = [card(n, 0, n % 4, performance="p") for n in range(16)]
    partners = Partners(cards, range(16), {"human": 3.0, "cat": 1.0})
    rng = np.random.default_rng(0)
    found = Counter(cards[partners.choose(1, rng)].species for _ in range(400))
    assert set(found) == {0, 1}
    assert found[0] == pytest.approx(300, abs=40)
    late = [card(0, performance="p"), card(1, performance="p", start=6), card(2, performance="p", start=3)]
    assert Partners(late, range(3), {"cat": 1.0}).choose(0, rng) == 2
    assert list(overlap(late[0], late[2])) == [3, 4, 5]
    assert not Partners(late[:2], range(2), {"cat": 1.0}).has(0)


def test_streamed_rows_stay_within_the_window():
    cards = mixed(6)
    plan = Plan(cards, Mixture(), streamed(30), seed=2)
    assert plan.window_clips < len(cards)
    needed = [{n for n in plan.draw(row) if n is not None} for row in range(2000)]
    for start in range(0, 1900, 40):
        assert len(set().union(*needed[start : start + 40])) <= 40
    assert set().union(*needed) == set(range(len(cards)))
