import builtins
import io
import os
import pickle
import pickletools
import subprocess
from pathlib import Path

import numpy as np
import pytest

from evaluation import template_pickle
from evaluation.template_pickle import UnsafePickleError, read_numbers
from evaluation.templates import TemplateError, read_template

ARRAYS = [
    np.arange(6, dtype=np.float32).reshape(1, 2, 3),
    np.asfortranarray(np.arange(6, dtype=np.float16).reshape(2, 3)),
    np.arange(4, dtype=">i4"),
    np.array(1.5),
    np.zeros((0, 3), np.float64),
    np.array([True, False]),
]


@pytest.mark.parametrize("protocol", range(6))
def test_plain_numbers_are_read_as_pickle_reads_them(protocol) -> None:
    value = {
        "a": [1, -2.5, None, True, "x" * 300], "b": (1, (2, 3, 4, 5)), "c": {}, "d": np.float64(2.5), "e": np.int32(7),
        "arrays": ARRAYS, "again": ARRAYS[0], "bytes": b"\xff\x00", "one": (1,), "none": (), "large": 2**40,
    }  # fmt: skip
    read = read_numbers(pickle.dumps(value, protocol=protocol))
    assert isinstance(read, dict)
    assert list(read) == list(value)
    for name in ("a", "b", "c", "d", "e", "bytes", "one", "none", "large"):
        assert read[name] == value[name]
    for got, wanted in zip(read["arrays"], ARRAYS, strict=True):
        np.testing.assert_array_equal(got, wanted)
        assert got.dtype == wanted.dtype
    np.testing.assert_array_equal(read["again"], ARRAYS[0])
    assert type(read["d"]) is float


def test_the_module_names_of_both_numpys_are_known() -> None:
    old = pickle.dumps(ARRAYS[0], protocol=2)
    assert b"numpy._core.multiarray" in old
    np.testing.assert_array_equal(read_numbers(old.replace(b"numpy._core", b"numpy.core")), ARRAYS[0])


class Calls:
    """An object whose pickle calls a function."""

    def __init__(self, function, *arguments) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class Stateful:
    """An object whose pickle sets its state."""

    def __init__(self) -> None:
        self.a = 1

    def __setstate__(self, state) -> None:
        raise AssertionError("the state was set")


class Persistent(pickle.Pickler):
    """A pickler that writes ids of things kept elsewhere."""

    def persistent_id(self, obj: object) -> object:
        return "id" if isinstance(obj, Calls) else None


def persistent(protocol: int) -> bytes:
    stream = io.BytesIO()
    Persistent(stream, protocol).dump({"a": Calls(print)})
    return stream.getvalue()


def hand_made(*parts: bytes) -> bytes:
    return b"\x80\x04" + b"".join(parts) + b"."


def name(module: str, attribute: str) -> bytes:
    return b"c" + f"{module}\n{attribute}\n".encode()


RECONSTRUCT = name("numpy.core.multiarray", "_reconstruct") + name("numpy", "ndarray")
FLOATS = name("numpy", "dtype") + b"\x8c\x02f4\x89\x88\x87R(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
EMPTY = RECONSTRUCT + b"K\x00\x85C\x01b\x87R"


def array_state(shape: bytes, kind: bytes, data: bytes) -> bytes:
    """An array of a given shape, format and content."""
    return EMPTY + b"(K\x01" + shape + kind + b"\x89" + data + b"tb"


HOSTILE = {
    "os.system": (pickle.dumps({"motion": Calls(os.system, "touch /tmp/owned")}), "refers to '(posix|os|nt).system'"),
    "eval": (pickle.dumps(Calls(eval, "1+1")), "refers to 'builtins.eval'"),
    "exec in a list": (pickle.dumps([1, [Calls(exec, "x=1")]]), "refers to 'builtins.exec'"),
    "getattr": (pickle.dumps(Calls(getattr, "", "join")), "refers to 'builtins.getattr'"),
    "import": (pickle.dumps(Calls(builtins.__import__, "os")), "refers to 'builtins.__import__'"),
    "popen": (pickle.dumps(Calls(subprocess.Popen, ["ls"])), "refers to 'subprocess.Popen'"),
    "array of objects": (pickle.dumps(np.array([Calls(os.system, "x")], dtype=object)), "refers to|plain numbers"),
    "array of objects, empty": (pickle.dumps(np.array([None], dtype=object)), "array of 'O8', not of plain numbers"),
    "array of records": (pickle.dumps(np.zeros(2, [("a", "f4")])), "array of 'V4', not of plain numbers"),
    "array of texts": (pickle.dumps(np.array(["ab"])), "not of plain numbers"),
    "array of dates": (pickle.dumps(np.array(["2020"], "M8[Y]")), "not of plain numbers"),
    "format with a subformat": (hand_made(FLOATS[:-28], b"(K\x03\x8c\x01<\x8c\x01xNNtb"), "damaged|records"),
    "state of an object": (pickle.dumps(Stateful()), "refers to|instruction"),
    "state of a list": (hand_made(b"]}b"), "sets the state of something that is not an array"),
    "state of a name": (hand_made(RECONSTRUCT, b"}b"), "sets the state of something that is not an array"),
    "call of a list": (hand_made(b"])R"), "calls something that makes no array"),
    "call of ndarray": (hand_made(name("numpy", "ndarray"), b"J\xff\xff\xff\x7f\x85R"), "calls something that"),
    "np.load": (hand_made(name("numpy", "load"), b"\x8c\x01x\x85R"), "refers to 'numpy.load'"),
    "dotted name": (hand_made(b"\x8c\x05numpy\x8c\x0edtype.__init__\x93"), "refers to 'numpy.dtype.__init__'"),
    "a name alone": (hand_made(b"]", name("numpy", "dtype"), b"a"), "a name in place of a number"),
    "persistent id 0": (persistent(0), "instruction PERSID"),
    "persistent id 4": (persistent(4), "instruction BINPERSID"),
    "extension": (hand_made(b"\x82\x01"), "instruction EXT1"),
    "INST": (b"\x80\x02(S'ls'\nios\nsystem\n.", "instruction (STRING|INST)"),
    "OBJ": (hand_made(b"(", name("os", "system"), b"o"), "refers to 'os.system'"),
    "NEWOBJ": (hand_made(name("numpy", "dtype"), b")\x81"), "instruction NEWOBJ"),
    "set": (pickle.dumps({1, 2}), "instruction EMPTY_SET"),
    "buffer": (hand_made(b"\x97"), "instruction NEXT_BUFFER"),
    "huge shape": (hand_made(array_state(b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86", FLOATS, b"C\x04abcd")),
                   r"claims the shape \[2147483647, 2147483647\] but comes with 4 bytes"),
    "negative shape": (hand_made(array_state(b"J\xff\xff\xff\xffJ\xff\xff\xff\xff\x86", FLOATS, b"C\x04abcd")),
                       "an array has no proper shape"),
    "many dimensions": (hand_made(array_state(b"(" + b"K\x01" * 60 + b"t", FLOATS, b"C\x04abcd")), "no proper shape"),
    "text for data": (hand_made(array_state(b"K\x01\x85", FLOATS, b"\x8c\x04abcd")), "an array is damaged"),
    "an array without content": (hand_made(EMPTY), "an array is damaged"),
    "long number": (pickle.dumps(1 << 100_000), "a whole number of 100001 bits"),
    "long decimal": (b"\x80\x02L" + b"9" * 100_000 + b"L\n.", "damaged or cut off"),
    "long bytes": (hand_made(b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f"), "damaged or cut off"),
    "long bytearray": (b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.", "damaged or cut off"),
    "memo far away": (hand_made(b"Nr\xff\xff\xff\xff0"), "instruction POP"),
    "memo missing": (hand_made(b"h\x07"), "damaged or cut off"),
    "stack empty": (hand_made(b"a"), "damaged or cut off"),
    "mark as a value": (hand_made(b"("), "it is damaged"),
    "dict into a list": (hand_made(b"]K\x01K\x02s"), "it is damaged"),
    "odd dict": (hand_made(b"}(K\x01u"), "damaged"),
    "key of number": (pickle.dumps({1: 2}), "it is damaged"),
    "no end": (pickle.dumps([1, 2])[:-1], "damaged or cut off"),
    "unknown": (b"\x80\x04\xff", "damaged or cut off"),
    "torch": (hand_made(name("torch._utils", "_rebuild_tensor_v2")), "refers to 'torch._utils._rebuild_tensor_v2'"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_more_than_numbers_is_refused(case, tmp_path, monkeypatch) -> None:
    content, message = HOSTILE[case]

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("something was called")

    monkeypatch.setattr(os, "system", forbidden)
    monkeypatch.setattr(builtins, "eval", forbidden)
    with pytest.raises(UnsafePickleError, match=message):
        read_numbers(content)
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    with pytest.raises(TemplateError, match=r"was refused: .*; use a template that") as caught:
        read_template(path)
    assert len(str(caught.value).removeprefix(str(path))) < 250
    assert "\n" not in str(caught.value)


def test_the_hostile_files_would_do_harm_elsewhere(tmp_path) -> None:
    """The test above is worth something only if plain pickle runs such files."""
    mark = tmp_path / "owned"
    content = pickle.dumps({"motion": Calls(Path.touch, mark)})
    pickle.loads(content)
    assert mark.exists()
    mark.unlink()
    with pytest.raises(UnsafePickleError):
        read_numbers(content)
    assert not mark.exists()


def test_a_file_of_endless_parts_is_refused_in_time(monkeypatch) -> None:
    monkeypatch.setattr(template_pickle, "MAX_STEPS", 1000)
    with pytest.raises(UnsafePickleError, match="more than 1000 parts"):
        read_numbers(hand_made(b"]" * 2000))
    nested = hand_made(b"]" * 400 + b"a" * 399)
    assert isinstance(read_numbers(nested), list)


def test_one_frame_named_a_million_times_takes_no_memory(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("evaluation.template_layouts.MAX_FRAMES", 10)
    frame = {"R": np.eye(3, dtype=np.float32)[None]}
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"n_frames": 11, "motion": [frame] * 11}))
    with pytest.raises(TemplateError, match="its motion has 11 frames and a template at most 10"):
        read_template(path)


def test_a_list_that_holds_itself_ends() -> None:
    loop: list = []
    loop.append(loop)
    assert isinstance(read_numbers(pickle.dumps(loop)), list)


def test_cut_anywhere_a_template_is_refused() -> None:
    content = pickle.dumps({"motion": [{"R": np.eye(3, dtype=np.float32)[None], "x": np.float32(1)}]})
    assert read_numbers(content)
    for length in range(2, len(content)):
        with pytest.raises(UnsafePickleError):
            read_numbers(content[:length])


def test_flipped_bytes_never_escape() -> None:
    """Whatever damage is done, the answer is numbers or UnsafePickleError."""
    content = bytearray(pickle.dumps({"motion": [{"R": np.eye(3, dtype=np.float32)[None]}], "n_frames": 1}))
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(3000):
        damaged = bytearray(content)
        for at in rng.integers(0, len(content), 3):
            damaged[at] = rng.integers(0, 256)
        try:
            read_numbers(bytes(damaged))
        except UnsafePickleError:
            refused += 1
    assert refused > 1000


def test_every_instruction_is_known_or_refused() -> None:
    """A new pickle protocol brings new instructions: they are refused until somebody looks at them."""
    for opcode in pickletools.opcodes:
        machine = template_pickle._Machine()
        machine.stack = [[], (), "x", "y"]
        try:
            machine.do(opcode.name, "a b")
        except (UnsafePickleError, KeyError, IndexError, TypeError, ValueError, AttributeError):
            continue
        allowed = template_pickle._VALUES | {*template_pickle._FIXED, *template_pickle._TUPLES}
        assert opcode.name in allowed | {
            "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "PROTO", "FRAME", "MARK", "EMPTY_LIST", "EMPTY_DICT",
        }  # fmt: skip
