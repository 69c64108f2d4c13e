"""The tree of a CEL expression: what `expressions.py` needs to see before it hands a text to the library.

The library compiles and evaluates, but shows no tree, and orderplan's rule for absent attributes (see
`expression_rewrite.py`) is a rule about the tree: which attributes stand in which comparison. So this module reads the
grammar of CEL once more, and only that: whether a text is well formed stays the library's verdict, which is asked
first; what stands here may assume a well-formed text. A rewriting of tokens without a tree was dropped: it has to guess
at chains of comparisons, at macros inside comparisons and at where an operand ends.

Chains that authors write long (`a && b && c ...`, `a + b + c ...`, `a.b.c ...`) are one node with many parts, so that
the depth of the tree is the nesting of brackets, which is bounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

NESTING_MAX: Final = 24
MACROS: Final = frozenset({"all", "exists", "exists_one", "filter", "map"})
RELATIONS: Final = frozenset({"==", "!=", "<", "<=", ">", ">=", "in"})


class SyntaxRefused(Exception):
    """The text uses what orderplan does not offer, at `at` characters from its start."""

    def __init__(self, reason: str, at: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.at = at


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant, kept as it was written; `kind` is null, bool, number, string or bytes."""

    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class Name:
    """A variable, the variable of a macro, or the name of a type."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class ListOf:
    """`[a, b]`."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class MapOf:
    """`{"k": a}`."""

    entries: tuple[tuple[Node, Node], ...]


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """`f(a, b)`; also `has(a.b)`."""

    name: str
    arguments: tuple[Node, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Select:
    """`.field`."""

    field: str


@dataclass(frozen=True, slots=True)
class Index:
    """`[key]`."""

    key: Node


@dataclass(frozen=True, slots=True)
class MethodCall:
    """`.f(a, b)`."""

    name: str
    arguments: tuple[Node, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Macro:
    """`.exists(variable, body)` and its kin; `map` with a predicate is read as `filter` and `map`."""

    name: str
    variable: str
    body: Node
    at: int


@dataclass(frozen=True, slots=True)
class Access:
    """A root and at least one step from it: `a.b["c"].size()`."""

    root: Node
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """`!a`."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Negative:
    """`-a`."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`a + b - c`, or `a * b / c % d`: operands of one precedence, and the operators between them."""

    operands: tuple[Node, ...]
    operators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """`a == b` and the other comparisons, `in` among them."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Logic:
    """`a && b && c` or `a || b || c`."""

    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """`condition ? then : otherwise`."""

    condition: Node
    then: Node
    otherwise: Node


Step = Select | Index | MethodCall | Macro
Node = Literal | Name | ListOf | MapOf | FunctionCall | Access | Not | Negative | Arithmetic | Relation | Logic | Choice

_TOKEN: Final = re.compile(
    r"""
      (?P<space>\s+|//[^\n]*)
    | (?P<string>(?:[bB][rR]?|[rR][bB]?)?(?:\"{3}|'{3}|"|'))
    | (?P<number>0[xX][0-9a-fA-F]+[uU]?|(?:[0-9]+\.[0-9]+|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?[uU]?)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<operator>&&|\|\||==|!=|<=|>=|[-+*/%<>!?:.,()\[\]{}])
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def _tokens(source: str) -> list[_Token]:
    """Cut the text; string literals of all forms (raw, bytes, triple-quoted) come out whole."""
    found: list[_Token] = []
    at = 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            raise SyntaxRefused(f"unexpected {source[at]!r}", at)
        kind = match.lastgroup or ""
        end = match.end()
        if kind == "string":
            opening = match.group()
            prefix = opening.rstrip("\"'").lower()
            end = _string_end(source, end, opening[len(prefix) :], is_raw="r" in prefix)
            if "b" in prefix:
                kind = "bytes"
        if kind != "space":
            found.append(_Token(kind, source[at:end], at))
        at = end
    found.append(_Token("end", "", len(source)))
    return found


def _string_end(source: str, at: int, quote: str, *, is_raw: bool) -> int:
    while at < len(source):
        if source.startswith(quote, at):
            return at + len(quote)
        # In a raw string a backslash is a character like any other, and does not keep the quote from closing.
        at += 2 if source[at] == "\\" and not is_raw else 1
    raise SyntaxRefused("a string has no end", at)


class _Parser:
    """Recursive descent over CEL's eight levels of precedence."""

    def __init__(self, source: str) -> None:
        self._tokens = _tokens(source)
        self._next = 0
        self._nesting = 0

    def parse(self) -> Node:
        node = self._expression()
        if self._peek.kind != "end":
            raise SyntaxRefused(f"unexpected {self._peek.text!r}", self._peek.at)
        return node

    @property
    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _is_next(self, *texts: str) -> bool:
        return self._peek.kind in ("operator", "name") and self._peek.text in texts

    def _accept(self, text: str) -> bool:
        if self._is_next(text):
            self._next += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise SyntaxRefused(f"expected {text!r}", self._peek.at)

    def _deeper(self) -> None:
        self._nesting += 1
        if self._nesting > NESTING_MAX:
            raise SyntaxRefused(f"nested more than {NESTING_MAX} deep", self._peek.at)

    def _expression(self) -> Node:
        self._deeper()
        node = self._logic("||")
        if self._accept("?"):
            then = self._logic("||")
            self._expect(":")
            node = Choice(node, then, self._expression())
        self._nesting -= 1
        return node

    def _logic(self, operator: str) -> Node:
        operands = [self._part_of(operator)]
        while self._accept(operator):
            operands.append(self._part_of(operator))
        return operands[0] if len(operands) == 1 else Logic(operator, tuple(operands))

    def _part_of(self, operator: str) -> Node:
        return self._logic("&&") if operator == "||" else self._relation()

    def _relation(self) -> Node:
        node = self._arithmetic("+", "-")
        nesting = self._nesting
        while self._is_next(*RELATIONS):
            if isinstance(node, Relation):  # `a == b == c` is `(a == b) == c`
                self._deeper()
            operator = self._take().text
            node = Relation(operator, node, self._arithmetic("+", "-"))
        self._nesting = nesting
        return node

    def _arithmetic(self, *level: str) -> Node:
        operands = [self._factor(level)]
        operators: list[str] = []
        while self._is_next(*level):
            operators.append(self._take().text)
            operands.append(self._factor(level))
        return Arithmetic(tuple(operands), tuple(operators)) if operators else operands[0]

    def _factor(self, level: tuple[str, ...]) -> Node:
        return self._arithmetic("*", "/", "%") if "+" in level else self._unary()

    def _unary(self) -> Node:
        if not self._is_next("!", "-"):
            return self._access()
        self._deeper()
        node: Node = Not(self._unary()) if self._take().text == "!" else Negative(self._unary())
        self._nesting -= 1
        return node

    def _access(self) -> Node:
        root = self._primary()
        steps: list[Step] = []
        while self._is_next(".", "["):
            if self._take().text == "[":
                steps.append(Index(self._expression()))
                self._expect("]")
                continue
            field = self._take()
            if field.kind != "name":
                raise SyntaxRefused(f"unexpected {field.text!r}", field.at)
            if not self._accept("("):
                steps.append(Select(field.text))
            elif field.text in MACROS:
                steps.extend(_macro(field, self._until(")")))
            else:
                steps.append(MethodCall(field.text, self._until(")"), field.at))
        return Access(root, tuple(steps)) if steps else root

    def _primary(self) -> Node:
        token = self._take()
        match token.kind:
            case "number" | "string" | "bytes":
                return Literal(token.text, token.kind)
            case "name" if token.text in ("true", "false", "null"):
                return Literal(token.text, "null" if token.text == "null" else "bool")
            case "name" if self._accept("("):
                return FunctionCall(token.text, self._until(")"), token.at)
            case "name":
                if self._is_next("{"):
                    raise SyntaxRefused("messages (`Type{...}`) are not offered", token.at)
                return Name(token.text, token.at)
        match token.text:
            case "(":
                node = self._expression()
                self._expect(")")
                return node
            case "[":
                return ListOf(self._until("]"))
            case "{":
                return MapOf(self._entries())
        raise SyntaxRefused(f"unexpected {token.text!r}", token.at)

    def _until(self, closing: str) -> tuple[Node, ...]:
        """Expressions between commas, one comma more at the end allowed."""
        found: list[Node] = []
        while not self._accept(closing):
            found.append(self._expression())
            if not self._accept(","):
                self._expect(closing)
                break
        return tuple(found)

    def _entries(self) -> tuple[tuple[Node, Node], ...]:
        found: list[tuple[Node, Node]] = []
        while not self._accept("}"):
            key = self._expression()
            self._expect(":")
            found.append((key, self._expression()))
            if not self._accept(","):
                self._expect("}")
                break
        return tuple(found)


def _macro(name: _Token, arguments: tuple[Node, ...]) -> list[Step]:
    variable, *bodies = arguments if arguments else (None,)
    if not isinstance(variable, Name) or len(bodies) not in ((1, 2) if name.text == "map" else (1,)):
        raise SyntaxRefused(f"{name.text}() takes a name and an expression", name.at)
    steps: list[Step] = [Macro(name.text, variable.name, bodies[-1], name.at)]
    if len(bodies) == 2:
        steps.insert(0, Macro("filter", variable.name, bodies[0], name.at))
    return steps


def parse(source: str) -> Node:
    """Read a text that the library compiles as a tree.

    Raises:
        SyntaxRefused: nested too deep, or something that orderplan does not offer.
    """
    return _Parser(source).parse()
