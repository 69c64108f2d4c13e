"""Conditions and mappings: CEL texts, compiled once, evaluated against the documents of an order.

CEL (Common Expression Language) is typed, has no side effects and ends always; the library is written in Rust. What is
added here is the rule for absent attributes and nulls, which `expression_rewrite.py` states and carries out, and the
border between Python's values and CEL's:

- A Decimal becomes a CEL double: the nearest one, which is also what a literal such as `19.99` is, so equality and
  order hold for numbers of up to 15 digits. Like every double it does not mix with whole numbers in arithmetic
  (`price * 2.0`). A value computed from a Decimal comes back as a Decimal of 15 digits (`0.1 + 0.2` is `0.3`). A value
  that is only read (`attributes.price`, also as a branch of `?:`) does not pass through CEL and comes back as the
  object that it was.
- Whole numbers have 64 bits; a larger one cannot be compared, instead of being rounded.
- Times are aware datetimes and become timestamps; a datetime without zone, or a date, is refused. A timedelta is a
  duration. Tuples are lists.
- Equality between types is false, as in CEL (`"1" == 1`); order between types has no answer and raises.

An expression is bounded: by its length, by its nesting, by the depth of macros in macros. There are no loops, so a
designer can make an expression slow or its result large only by writing it so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final

import cel
from cel.stdlib import STDLIB_FUNCTIONS

from domain.errors import BadExpression, ExpressionFailed
from domain.expression_rewrite import NO_ORDER, REWRITTEN_CHARACTERS_MAX, Path, Read, Rewriter
from domain.expression_syntax import Choice, Node, SyntaxRefused, parse

SOURCE_CHARACTERS_MAX: Final = 4_000
_INT_MIN: Final = -(2**63)
_INT_END: Final = 2**64
_LIBRARY_REASON: Final = re.compile(r"<input>:(\d+):(\d+): ([^\n]*)")
_UNDEFINED: Final = re.compile(r"Undefined variable or function: '([^']*)'")
_FUNCTION: Final = re.compile(r"Function '([^']*)' error")

Context = Mapping[str, Any]
_Run = Callable[[Context], Any]


class Absent(Enum):
    """The type of `ABSENT`."""

    ABSENT = "absent"

    def __bool__(self) -> bool:
        return False


ABSENT: Final = Absent.ABSENT
"""What an expression gives when the attribute it stands for is not there. Null is another thing."""


class Expression:
    """A compiled text; free of state, so it may be shared and called from anywhere."""

    __slots__ = ("_is_condition", "_run", "source", "variables")

    def __init__(self, source: str, variables: frozenset[str], run: _Run, *, is_condition: bool) -> None:
        self.source = source
        self.variables = variables
        """The root names it reads from the context; variables of macros are not among them."""
        self._run = run
        self._is_condition = is_condition

    def evaluate(self, context: Context) -> Any:
        """The value, or `ABSENT` where an attribute that it needs is absent (a condition is then false).

        What it only read is the context's own object: copy it before changing it.

        Raises:
            ExpressionFailed: types that do not go together, division by zero, or a value that CEL has no type for.
        """
        return self._run(context)

    def is_true(self, context: Context) -> bool:
        """Whether the condition holds; what is absent makes it false.

        Raises:
            ExpressionFailed: as `evaluate`, and if the answer is neither yes nor no.
        """
        answer = self._run(context)
        if answer is True:
            return True
        if answer is False or answer is ABSENT:
            return False
        raise ExpressionFailed(self.source, f"a condition answers yes or no, this gave {_type_name(answer)}")

    def __repr__(self) -> str:
        return f"{'compile_condition' if self._is_condition else 'compile_value'}({self.source!r})"

    def __reduce__(self) -> tuple[Callable[[str], Expression], tuple[str]]:
        # The compiled form belongs to the process: another one compiles the text again.
        return (compile_condition if self._is_condition else compile_value), (self.source,)


def compile_condition(source: str, known: Collection[str] | None = None) -> Expression:
    """Compile a text that answers yes or no.

    Args:
        source: the CEL text; an empty one is the caller's "no condition" and is not compiled.
        known: root names that it may read; None allows all.

    Raises:
        BadExpression: it is not well formed, too long, nested too deep, or names what is not known.
    """
    return _compile(source, known, is_condition=True)


def compile_value(source: str, known: Collection[str] | None = None) -> Expression:
    """Compile a text that stands for a value; what is absent evaluates to `ABSENT`.

    Args:
        source: the CEL text.
        known: root names that it may read; None allows all.

    Raises:
        BadExpression: as `compile_condition`.
    """
    return _compile(source, known, is_condition=False)


def _compile(source: str, known: Collection[str] | None, *, is_condition: bool) -> Expression:
    if len(source) > SOURCE_CHARACTERS_MAX:
        raise BadExpression(source, f"longer than {SOURCE_CHARACTERS_MAX} characters")
    _library_program(source, source)  # whether it is well formed is the library's verdict
    roots: set[str] = set()
    try:
        node = parse(source)
        run = _condition(source, node, known, roots) if is_condition else _value(source, node, known, roots)
    except SyntaxRefused as refused:
        raise BadExpression(source, f"{refused.reason} at {_position(source, refused.at)}") from None
    return Expression(source, frozenset(roots), run, is_condition=is_condition)


def _position(source: str, at: int) -> str:
    return f"line {source.count(chr(10), 0, at) + 1}, column {at - source.rfind(chr(10), 0, at)}"


def _library_program(source: str, text: str) -> cel.Program:
    try:
        return cel.compile(text)
    except ValueError as error:
        found = _LIBRARY_REASON.search(str(error))
        if found is None or text is not source or "Recursion limit" in found[3]:
            # The rewritten text is ours: its positions would mislead, and only its depth can be wrong.
            raise BadExpression(source, "nested too deep") from error
        line, column, reason = found.groups()
        reason = reason.partition(" expecting {")[0].replace("'<EOF>'", "the end")
        raise BadExpression(source, f"{reason} at line {line}, column {column}") from error


def _condition(source: str, node: Node, known: Collection[str] | None, roots: set[str]) -> _Run:
    rewriter = Rewriter(known)
    text = rewriter.holds(node)
    return _program_run(source, text, rewriter, roots, is_value=False)


def _value(source: str, node: Node, known: Collection[str] | None, roots: set[str]) -> _Run:
    """A value that is only read is read in Python, as itself; only what is computed passes through CEL."""
    if isinstance(node, Choice):
        test = _condition(source, node.condition, known, roots)
        then, otherwise = (_value(source, branch, known, roots) for branch in (node.then, node.otherwise))
        return lambda context: then(context) if test(context) is True else otherwise(context)
    rewriter = Rewriter(known)
    path = rewriter.path_of(node)
    if path is not None:
        roots |= rewriter.roots
        return lambda context: read_path(context, path)
    text = rewriter.value(node)
    return _program_run(source, text, rewriter, roots, is_value=True)


def _program_run(source: str, text: str, rewriter: Rewriter, roots: set[str], *, is_value: bool) -> _Run:
    if len(text) > REWRITTEN_CHARACTERS_MAX:
        raise BadExpression(source, "too intricate: write it in parts")
    execute = _library_program(source, text).execute
    for constant in rewriter.constants:
        try:
            cel.compile(constant).execute()
        except RuntimeError as error:
            raise BadExpression(source, f"{constant} can never be evaluated") from error
    roots |= rewriter.roots
    functions = {name: STDLIB_FUNCTIONS[name] for name in sorted(rewriter.extensions)}
    reads = tuple(rewriter.reads)

    def run(context: Context) -> Any:
        values: dict[str, Any] = functions.copy()
        try:
            for read in reads:
                value = read_path(context, read.path)
                if read.presence is not None:
                    values[read.presence] = value is not ABSENT
                values[read.variable] = None if value is ABSENT else _to_cel(value)
            result = execute(values)
        except (KeyError, IndexError) as error:
            if error.args == (NO_ORDER,):
                raise ExpressionFailed(source, NO_ORDER) from None
            return ABSENT
        except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
            # The cause is cut off: its text may hold values, and values that must not stay reach no log.
            raise ExpressionFailed(source, _reason(error) + _types(context, reads)) from None
        if is_value and isinstance(result, float | list | dict):
            is_money = any(_has_decimal(read_path(context, read.path)) for read in reads)
            return _from_cel(result, is_money=is_money)
        return result

    return run


def read_path(context: Context, path: Path) -> Any:
    """The value at the path, or `ABSENT` where a step is missing or nothing has steps."""
    value: Any = context
    for step in path:
        if type(value) is dict or isinstance(value, Mapping):
            value = value.get(step, ABSENT)
        elif isinstance(value, list | tuple) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return ABSENT
    return value


def _to_cel(value: Any) -> Any:
    """The value as the library takes it without guessing."""
    kind = type(value)
    if kind is str or kind is bool or value is None or kind is float:
        return value
    match value:
        case int():
            if _INT_MIN <= value < _INT_END:
                return value
            raise ValueError("a whole number of more than 64 bits")
        case Decimal():
            if value.is_finite():
                return float(value)
            raise ValueError("a number that is not finite")
        case str() | float() | bytes() | timedelta():
            return value
        case datetime():
            if value.tzinfo is not None:
                return value
            raise ValueError("a time without zone")
        case Mapping():
            return {str(key) if isinstance(key, str) else key: _to_cel(each) for key, each in value.items()}
        case list() | tuple():
            return [_to_cel(each) for each in value]
    raise ValueError(f"a value of type {kind.__name__}")


def _has_decimal(value: Any) -> bool:
    match value:
        case Decimal():
            return True
        case Mapping():
            return any(_has_decimal(each) for each in value.values())
        case list() | tuple():
            return any(_has_decimal(each) for each in value)
    return False


def _from_cel(value: Any, *, is_money: bool) -> Any:
    """A computed value as callers want it: maps in a fixed order, money as Decimal."""
    match value:
        case float() if is_money:
            return Decimal(f"{value:.15g}")
        case dict():
            # The library's maps have no order of their own, and a replay has to give the same bytes.
            return {key: _from_cel(value[key], is_money=is_money) for key in sorted(value, key=str)}
        case list():
            return [_from_cel(each, is_money=is_money) for each in value]
    return value


def _reason(error: Exception) -> str:
    """Why the evaluation failed, without any value that took part in it."""
    text = str(error)
    if (undefined := _UNDEFINED.match(text)) is not None:
        return f"{undefined[1]}() does not take values of these types"
    if (function := _FUNCTION.match(text)) is not None:
        return f"{function[1]}() refused its argument"
    match error:
        case TypeError():
            return "types that do not go together"
        case ZeroDivisionError():
            return "division by zero"
        case ArithmeticError():
            return "a number out of range"
        case ValueError() if not text.startswith("Conversion Error"):
            return text
    return "a value that CEL has no type for"


def _types(context: Context, reads: tuple[Read, ...]) -> str:
    """The types of what was read, to find the wrong one."""
    seen = {read.path: _type_name(read_path(context, read.path)) for read in reads}
    if not seen:
        return ""
    texts = [f"{'.'.join(map(str, path))} is {name}" for path, name in seen.items()]
    return f" ({', '.join(texts)})"


def _type_name(value: Any) -> str:
    match value:
        case Absent():
            return "absent"
        case None:
            return "null"
        case bool():
            return "a bool"
        case int():
            return "an int"
        case float() | Decimal():
            return "a double"
        case str():
            return "a string"
        case datetime():
            return "a timestamp"
        case Mapping():
            return "a map"
        case list() | tuple():
            return "a list"
    return f"a {type(value).__name__}"
