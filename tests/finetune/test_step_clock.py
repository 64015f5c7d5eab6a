from finetune.step_clock import Clock, Span


def test_calls_take_turns_and_change_their_order() -> None:
    said: list[str] = []
    times = Clock(rounds=2).alternating([lambda: said.append("a"), lambda: said.append("b")])
    assert "".join(said) == "ab" + "ab" + "ba"
    assert [len(one.wall_s) for one in times] == [2, 2]
    assert all(second >= 0 for one in times for second in (*one.wall_s, *one.cpu_s, one.median_s))


def test_a_span_has_middle_and_ends() -> None:
    assert Span.of([3.0, 1.0, 2.0]) == Span(median=2.0, least=1.0, most=3.0)
