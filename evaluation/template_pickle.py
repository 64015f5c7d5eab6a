"""The bytes of a pickle of plain containers and numpy arrays -> the same values, without unpickling.

A pickle is a program. This reader walks over its instructions itself and knows only those that build numbers, texts,
lists, dicts and numpy arrays of plain numbers; the names that a pickle may call are looked up in a table here and never
imported. Whatever else stands in a file is refused, so no file can run code or ask for more memory than it has bytes.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Shaped

MAX_STEPS = 6_000_000
"""Instructions of one file: up to 200 for a frame, so 30 000 frames fit; it bounds memory (1 GB) and time (10 s)."""
MAX_NUMBER_BITS = 64
NUMBERS = frozenset(("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"))
"""The only kinds of array: plain numbers. Arrays of objects could hold anything."""


class UnsafePickleError(ValueError):
    """What a pickle holds that a file of numbers does not; the text continues "the file was refused: …"."""


class _Name:
    """A name that the pickle refers to; it stands for the real thing, which is never touched."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[tuple[Any, ...]], Any] | None) -> None:
        self.call = call


class _Kind:
    """A number format; the byte order comes with the state that follows it."""

    __slots__ = ("dtype",)

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        code = arguments[0] if arguments else None
        if not isinstance(code, str) or code.lstrip("<>|=") not in NUMBERS:
            raise UnsafePickleError(f"it holds an array of {code!r}, not of plain numbers")
        self.dtype = np.dtype(code)

    def build(self, state: object) -> None:
        """Take over the byte order; everything else that a format can have is for records and objects."""
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "|", "="):
            raise UnsafePickleError("the number format of an array is damaged")
        if any(part is not None for part in state[2:5]):
            raise UnsafePickleError("it holds an array of records, not of plain numbers")
        self.dtype = self.dtype.newbyteorder(state[1]) if state[1] != "|" else self.dtype


class _Array:
    """An array between its creation and the state that fills it."""

    __slots__ = ("values",)

    def __init__(self, values: Shaped[np.ndarray, "..."] | None = None) -> None:
        self.values = values

    def build(self, state: object) -> None:
        """(version, shape, number format, column order, bytes), as numpy writes it."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise UnsafePickleError("an array is damaged")
        _, shape, kind, is_column_order, data = state
        self.values = _array(data, kind, shape, "F" if is_column_order else "C")


def _array(data: object, kind: object, shape: object, order: object) -> Shaped[np.ndarray, "..."]:
    if not isinstance(kind, _Kind) or not isinstance(data, bytes) or order not in ("C", "F"):
        raise UnsafePickleError("an array is damaged")
    if not isinstance(shape, tuple) or len(shape) > 8 or not all(type(n) is int and n >= 0 for n in shape):
        raise UnsafePickleError("an array has no proper shape")
    if math.prod(shape) * kind.dtype.itemsize != len(data):
        raise UnsafePickleError(f"an array claims the shape {list(shape)} but comes with {len(data)} bytes")
    return np.frombuffer(data, kind.dtype).reshape(shape, order=order)


def _empty_array(arguments: tuple[Any, ...]) -> _Array:
    return _Array()  # the shape and type given here are placeholders; the state brings the real ones


def _array_from_buffer(arguments: tuple[Any, ...]) -> _Array:
    if len(arguments) != 4:
        raise UnsafePickleError("an array is damaged")
    return _Array(_array(*arguments))


def _scalar(arguments: tuple[Any, ...]) -> float | int | bool:
    if len(arguments) != 2:
        raise UnsafePickleError("a number is damaged")
    return _array(arguments[1], arguments[0], (), "C").item()


def _encoded(arguments: tuple[Any, ...]) -> bytes:
    """Bytes as old pickles write them: a text and its encoding."""
    if len(arguments) != 2 or not isinstance(arguments[0], str) or arguments[1] not in ("latin1", "latin-1"):
        raise UnsafePickleError("the bytes of an array are damaged")
    return arguments[0].encode("latin-1")


def _no_bytes(arguments: tuple[Any, ...]) -> bytes:
    """Empty bytes as old pickles write them."""
    if arguments:
        raise UnsafePickleError("the bytes of an array are damaged")
    return b""


_CALLS: dict[str, Callable[[tuple[Any, ...]], Any] | None] = {
    "numpy.ndarray": None,
    "numpy.dtype": _Kind,
    "_codecs.encode": _encoded,
    "__builtin__.bytes": _no_bytes,
    **{f"numpy.{core}.multiarray._reconstruct": _empty_array for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _array_from_buffer for core in ("core", "_core")},
}
"""What a pickle may refer to; `core` is numpy 1, `_core` numpy 2."""
_MARK = object()
_VALUES = frozenset((
    "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
))  # fmt: skip
_FIXED = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_numbers(content: bytes) -> object:
    """A pickle's value, made of dict, list, tuple, str, bytes, int, float, bool, None and read-only numpy arrays.

    Raises:
        UnsafePickleError: the pickle holds anything else, is damaged, or is longer than MAX_STEPS.
    """
    import pickletools

    machine = _Machine()
    try:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if step >= MAX_STEPS:
                raise UnsafePickleError(f"it has more than {MAX_STEPS} parts, more than any real one")
            if opcode.name == "STOP":
                return _plain(machine.pop())
            machine.do(opcode.name, argument)
    except UnsafePickleError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError) as error:
        # pickletools reports damage as ValueError; the others come from instructions in an impossible order.
        raise UnsafePickleError("it is damaged or cut off") from error
    raise UnsafePickleError("it is cut off")


class _Machine:
    """The stack on which a pickle builds its value; `op_` methods are instructions."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def do(self, name: str, argument: Any) -> None:  # noqa: ANN401
        """One instruction; those that are not known here are the ones that make objects."""
        if name in _VALUES:
            self.stack.append(_checked(argument))
        elif name in _FIXED:
            self.stack.append(_FIXED[name])
        elif name in _TUPLES:
            items = [self.pop() for _ in range(_TUPLES[name])]
            self.stack.append(tuple(items[::-1]))
        elif name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[len(self.memo) if name == "MEMOIZE" else argument] = self.stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name not in ("PROTO", "FRAME"):
            action = getattr(self, f"op_{name.lower()}", None)
            if action is None:
                raise UnsafePickleError(f"it uses the pickle instruction {name}, which no file of numbers needs")
            action(argument)

    def pop(self) -> Any:  # noqa: ANN401
        """The topmost value, finished."""
        return _finished(self.stack.pop())

    def since_mark(self) -> list[Any]:
        """The values above the last mark, finished."""
        items: list[Any] = []
        while (value := self.stack.pop()) is not _MARK:
            items.append(_finished(value))
        return items[::-1]

    def op_mark(self, _: None) -> None:
        self.stack.append(_MARK)

    def op_tuple(self, _: None) -> None:
        self.stack.append(tuple(self.since_mark()))

    def op_empty_list(self, _: None) -> None:
        self.stack.append([])

    def op_list(self, _: None) -> None:
        values = self.since_mark()
        self.stack.append([])
        self._extend(values)

    def op_append(self, _: None) -> None:
        self._extend([self.pop()])

    def op_appends(self, _: None) -> None:
        self._extend(self.since_mark())

    def _extend(self, values: list[Any]) -> None:
        _of_type(self.stack[-1], list).extend(_plain(value) for value in values)

    def op_empty_dict(self, _: None) -> None:
        self.stack.append({})

    def op_dict(self, _: None) -> None:
        items = self.since_mark()
        self.stack.append({})
        self._update(items)

    def op_setitem(self, _: None) -> None:
        value, key = self.pop(), self.pop()
        self._update([key, value])

    def op_setitems(self, _: None) -> None:
        self._update(self.since_mark())

    def _update(self, items: list[Any]) -> None:
        target = _of_type(self.stack[-1], dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_of_type(key, str)] = _plain(value)

    def op_global(self, argument: str) -> None:
        self._refer(argument.replace(" ", ".", 1))

    def op_stack_global(self, _: None) -> None:
        name, module = self.pop(), self.pop()
        self._refer(f"{module}.{name}")

    def _refer(self, text: str) -> None:
        if text not in _CALLS:
            raise UnsafePickleError(f"it refers to {text[:80]!r}, which could run code")
        self.stack.append(_Name(_CALLS[text]))

    def op_reduce(self, _: None) -> None:
        arguments, name = _of_type(self.pop(), tuple), self.pop()
        if not isinstance(name, _Name) or name.call is None:
            raise UnsafePickleError("it calls something that makes no array")
        self.stack.append(name.call(arguments))

    def op_build(self, _: None) -> None:
        state = self.pop()
        target = self.stack[-1]
        if not isinstance(target, _Kind | _Array):
            raise UnsafePickleError("it sets the state of something that is not an array")
        target.build(state)


def _checked(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, bytearray):
        return bytes(value)
    if type(value) is int and value.bit_length() > MAX_NUMBER_BITS:
        raise UnsafePickleError(f"it holds a whole number of {value.bit_length()} bits")
    return value


def _of_type(value: Any, kind: type) -> Any:  # noqa: ANN401
    if not isinstance(value, kind):
        raise UnsafePickleError("it is damaged")
    return value


def _finished(value: Any) -> Any:  # noqa: ANN401
    """The numpy array in place of the one being built."""
    if value is _MARK:
        raise UnsafePickleError("it is damaged")
    if not isinstance(value, _Array):
        return value
    if value.values is None:
        raise UnsafePickleError("an array is damaged")
    return value.values


def _plain(value: Any) -> Any:  # noqa: ANN401
    """A value that may stand in a list or dict."""
    if isinstance(value, _Name | _Kind):
        raise UnsafePickleError("it holds a name in place of a number")
    return value
