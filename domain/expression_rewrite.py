"""Rewriting a CEL expression so that absent attributes and nulls make a comparison false instead of an error.

The library stops with an error where an attribute is absent. The rule of orderplan is another one:

- An attribute is absent where any step towards it is: no such key, no such place in a list, or a thing without parts.
- A comparison in which an absent attribute occurs is false, `!=` too; so `!(a.x == 1)` is true where `a.x` is absent.
- Null is a value for `==`, `!=`, the left side of `in`, `has()` and inside list and map literals. Anywhere else (`<`,
  arithmetic, functions, methods, as a container) a null counts as absent.
- Where CEL asks yes or no (a whole condition, the test of `?:`, the predicate of a macro), an absent answer is no, and
  so is its opposite: neither `a.flag` nor `!a.flag` holds where `a.flag` is absent. Between `&&` and `||` an absent
  answer decides nothing as long as the others decide.
- A value in which an absent attribute occurs is absent.

How it is done. Every attribute path from a root variable is taken out of the text and becomes a variable of its own
(`v0`), read by us in Python, so that the library converts the few values that are read and not the whole order (2 us
instead of 70 us with forty attributes). What could be absent gets a test in front: `v0 != null && (v0 > 1)`, or, where
a null is a value, `p0 && (v0 == "x")`. A condition is written as "surely true" and a negation inside it as "surely
false", which needs no third truth value. What has to be computed before it can be tested is computed once, by binding
it: `[f(v0)].map(t0, <test of t0> && <comparison with t0>)[0]`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from domain.expression_syntax import (
    Access,
    Arithmetic,
    Choice,
    FunctionCall,
    Index,
    ListOf,
    Literal,
    Logic,
    Macro,
    MapOf,
    MethodCall,
    Name,
    Negative,
    Node,
    Not,
    Relation,
    Select,
    Step,
    SyntaxRefused,
)

Path = tuple[str | int, ...]
"""Steps to a value from the context: the root variable, then keys of maps and places in lists."""

NO_ORDER: Final = "map() and filter() go over a list: a map has no order"
"""Key of the lookup that fails where the outcome would depend on the order of a map's keys."""
MACRO_DEPTH_MAX: Final = 2
REWRITTEN_CHARACTERS_MAX: Final = 100_000

TYPES: Final = frozenset({"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"})
METHODS: Final = frozenset(
    {
        "contains",
        "endsWith",
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
        "getFullYear",
        "getHours",
        "getMilliseconds",
        "getMinutes",
        "getMonth",
        "getSeconds",
        "matches",
        "size",
        "startsWith",
    }
)
FUNCTIONS: Final = frozenset(
    {"bytes", "double", "duration", "dyn", "int", "size", "string", "timestamp", "type", "uint"}
)
# `bool()` of the extensions is left out: its failure logs the value, which may be one that must not stay.
EXTENSION_FUNCTIONS: Final = frozenset({"max", "min", "sum"})
EXTENSION_METHODS: Final = frozenset(
    {
        "charAt",
        "indexOf",
        "join",
        "lastIndexOf",
        "lowerAscii",
        "replace",
        "split",
        "substring",
        "trim",
        "upperAscii",
    }
)
EXTENSION_NAMESPACES: Final = {
    "math": frozenset({"abs", "ceil", "floor", "greatest", "least", "round", "sign", "trunc"}),
}
_ABSENT: Final = "{}.absent"
# Functions of these names look at the type only, so a null is a value to them.
_TAKE_NULL: Final = frozenset({"dyn", "type"})
# With constant arguments these fail always or never.
_CHECKED_CONSTANTS: Final = frozenset({"duration", "timestamp"})


@dataclass(frozen=True, slots=True)
class Read:
    """A path that the rewritten text reads.

    `variable` holds its value. Where `presence` is named, that variable says whether the path is there; otherwise
    absent reads as null, because the text treats both alike.
    """

    path: Path
    variable: str
    presence: str | None


@dataclass(frozen=True, slots=True)
class _Bind:
    """Compute `text` once and call it `variable` in what follows."""

    variable: str
    text: str


# What must hold, or be computed, before a text may be evaluated; a plain string is a test.
_Needs = list["str | _Bind"]


def _after(needs: _Needs, text: str, otherwise: str) -> str:
    """The text where its needs hold, `otherwise` where they do not."""
    tests: list[str] = []
    for need in reversed(needs):
        if isinstance(need, str):
            tests.insert(0, need)
            continue
        text = f"[{need.text}].map({need.variable}, {_where(tests, text, otherwise)})[0]"
        tests = []
    return _where(tests, text, otherwise)


def _where(tests: list[str], text: str, otherwise: str) -> str:
    if not tests:
        return text
    if otherwise == "false":
        return f"({' && '.join(tests if text == 'true' else [*tests, text])})"
    return f"({' && '.join(tests)} ? {text} : {otherwise})"


class Rewriter:
    """Rewrites one expression.

    Afterwards `reads` and `extensions` say what the text needs to run, `roots` which variables it reads, and
    `constants` are texts without variables that a caller can evaluate at once to see whether they fail.
    """

    def __init__(self, known: Collection[str] | None) -> None:
        self.reads: list[Read] = []
        self.roots: set[str] = set()
        self.extensions: set[str] = set()
        self.constants: list[str] = []
        self._known = known
        self._slots: dict[tuple[Path, bool], Read] = {}
        # Variables of the macros around the current place, by the names that the text gave them.
        self._bound: dict[str, str] = {}
        self._names = 0
        self._macro_depth = 0

    # -- the three ways to write a node ------------------------------------------------------------------------------

    def holds(self, node: Node, *, negated: bool = False) -> str:
        """A text that is true where the node is surely true (or surely false, if `negated`), and false otherwise."""
        match node:
            case Not(operand):
                return self.holds(operand, negated=not negated)
            case Logic(operator, operands):
                # Of `a && b` the opposite is `!a || !b`.
                joint = operator if not negated else "||" if operator == "&&" else "&&"
                return f"({f' {joint} '.join(self.holds(each, negated=negated) for each in operands)})"
            case Choice(condition, then, otherwise):
                test = self.holds(condition)
                return f"({test} ? {self.holds(then, negated=negated)} : {self.holds(otherwise, negated=negated)})"
            case Relation():
                return f"!{self._relation(node)}" if negated else self._relation(node)
        needs: _Needs = []
        text = self._strict(node, needs, null=False)
        return _after(needs, f"!{text}" if negated else text, "false")

    def value(self, node: Node, *, null: bool = True) -> str:
        """A text that has the node's value, or fails with a lookup error where that is absent."""
        match node:
            case Not(operand):
                return f"!{self.value(operand, null=False)}"
            case Logic(operator, operands):
                # The library lets the side that decides outweigh the one that fails, on either side.
                return f"({f' {operator} '.join(self.value(each, null=False) for each in operands)})"
            case Choice(condition, then, otherwise):
                return f"({self.holds(condition)} ? {self.value(then, null=null)} : {self.value(otherwise, null=null)})"
        needs: _Needs = []
        text = self._strict(node, needs, null=null)
        return _after(needs, text, _ABSENT)

    def _strict(self, node: Node, needs: _Needs, *, null: bool) -> str:
        """A text with the node's value, which may be evaluated once `needs` hold; with `null`, null is a value here."""
        match node:
            case Literal(text, kind):
                if kind == "null" and not null:
                    needs.append("false")
                return text
            case Name() | Access():
                return self._access(node, needs, null=null)
            case ListOf(items):
                return f"[{', '.join(self._strict(each, needs, null=True) for each in items)}]"
            case MapOf(entries):
                texts = [
                    f"{self._strict(key, needs, null=False)}: {self._strict(each, needs, null=True)}"
                    for key, each in entries
                ]
                return f"{{{', '.join(texts)}}}"
            case FunctionCall():
                return self._call(node, needs, null=null)
            case Not(operand):
                return f"!{self._strict(operand, needs, null=False)}"
            case Negative(operand):
                return f"(-{self._strict(operand, needs, null=False)})"
            case Arithmetic(operands, operators):
                first, *others = [self._strict(each, needs, null=False) for each in operands]
                pairs = zip(operators, others, strict=True)
                return f"({first}{''.join(f' {operator} {other}' for operator, other in pairs)})"
            case Logic(operator, operands):
                return f"({f' {operator} '.join(self._strict(each, needs, null=False) for each in operands)})"
            case Relation():
                return self._relation(node)
            case Choice():
                return self._choice(node, needs, null=null)

    # -- nodes that need more than a line ------------------------------------------------------------------------------

    def _relation(self, node: Relation) -> str:
        """A comparison that is false where something in it is absent."""
        is_equality = node.operator in ("==", "!=")
        needs: _Needs = []
        left = self._strict(node.left, needs, null=is_equality or node.operator == "in")
        right = self._strict(node.right, needs, null=is_equality)
        return _after(needs, f"({left} {node.operator} {right})", "false")

    def _choice(self, node: Choice, needs: _Needs, *, null: bool) -> str:
        """`?:` inside a comparison: only the branch that is taken has to be there."""
        test = self.holds(node.condition)
        texts: list[str] = []
        options: list[str] = []
        for branch in (node.then, node.otherwise):
            branch_needs: _Needs = []
            text = self._strict(branch, branch_needs, null=null)
            texts.append(text if not branch_needs else "")
            options.append(_after(branch_needs, f"[{text}]", "[]"))
        if all(texts):
            return f"({test} ? {texts[0]} : {texts[1]})"
        # A list of one, or of none where the branch is absent, asks and answers in one evaluation.
        option = self._bind(f"({test} ? {options[0]} : {options[1]})", needs)
        needs.append(f"{option} != []")
        return f"{option}[0]"

    def _call(self, node: FunctionCall, needs: _Needs, *, null: bool) -> str:
        if node.name == "has":
            if len(node.arguments) != 1:
                raise SyntaxRefused("has() takes one attribute", node.at)
            there: _Needs = []
            self._strict(node.arguments[0], there, null=True)
            return _after(there, "true", "false")
        if node.name in EXTENSION_FUNCTIONS:
            self.extensions.add(node.name)
        elif node.name not in FUNCTIONS:
            raise SyntaxRefused(f"there is no function {node.name}()", node.at)
        takes_null = node.name in _TAKE_NULL
        texts = [self._strict(each, needs, null=takes_null) for each in node.arguments]
        text = f"{node.name}({', '.join(texts)})"
        if node.name in _CHECKED_CONSTANTS and all(isinstance(each, Literal) for each in node.arguments):
            self.constants.append(text)
        if node.name == "dyn" and not null:
            _need(f"{text} != null", needs)
        return text

    def _access(self, node: Name | Access, needs: _Needs, *, null: bool) -> str:
        """A root and its steps, as far as they are static in one read, the rest step by step."""
        root, steps = (node.root, node.steps) if isinstance(node, Access) else (node, ())
        may_be_null = False
        if not isinstance(root, Name):
            text = self._strict(root, needs, null=False)
        elif root.name in self._bound:
            text, may_be_null = self._bound[root.name], True
        elif not steps and root.name in TYPES and root.name not in (self._known or ()):
            return root.name
        elif steps and isinstance(steps[0], MethodCall) and steps[0].name in EXTENSION_NAMESPACES.get(root.name, ()):
            name = f"{root.name}.{steps[0].name}"
            self.extensions.add(name)
            text = f"{name}({', '.join(self._strict(each, needs, null=False) for each in steps[0].arguments)})"
            steps = steps[1:]
        else:
            path, steps = self._path(root, steps)
            text = self._read(path, needs, null=null and not steps)
        for step in steps:
            if may_be_null and isinstance(step, MethodCall | Macro):
                _need(f"{text} != null", needs)
            text = self._step(text, step, needs)
            may_be_null = isinstance(step, Select | Index)
        if may_be_null and not null:
            _need(f"{text} != null", needs)
        return text

    def _step(self, text: str, step: Step, needs: _Needs) -> str:
        match step:
            case Select(field):
                text = self._simple(text, needs)
                _need(f"type({text}) == map && has({text}.{field})", needs)
                return f"{text}.{field}"
            case Index(key):
                text = self._simple(text, needs)
                key_text = self._simple(self._strict(key, needs, null=False), needs)
                place = f"type({key_text}) in [int, uint] && {key_text} >= 0 && {key_text} < size({text})"
                _need(f"(type({text}) == list ? {place} : type({text}) == map && {key_text} in {text})", needs)
                return f"{text}[{key_text}]"
            case MethodCall(name, arguments, at):
                if name in EXTENSION_METHODS or name in EXTENSION_FUNCTIONS:
                    self.extensions.add(name)
                elif name not in METHODS:
                    raise SyntaxRefused(f"there is no method {name}()", at)
                texts = [self._strict(each, needs, null=False) for each in arguments]
                if name == "matches" and all(isinstance(each, Literal) for each in arguments):
                    self.constants.append(f'"".matches({", ".join(texts)})')
                return f"{text}.{name}({', '.join(texts)})"
            case Macro():
                return self._macro(text, step, needs)

    def _macro(self, text: str, macro: Macro, needs: _Needs) -> str:
        if self._macro_depth == MACRO_DEPTH_MAX:
            raise SyntaxRefused(f"macros stand in each other more than {MACRO_DEPTH_MAX} deep", macro.at)
        text = self._simple(text, needs)
        over = text
        if macro.name in ("map", "filter"):
            over = f'(type({text}) == map ? {{}}["{NO_ORDER}"] : {text})'
        variable = self._fresh("m")
        outer, self._bound = self._bound, {**self._bound, macro.variable: variable}
        self._macro_depth += 1
        if macro.name == "map":
            each_needs: _Needs = []
            body = self._strict(macro.body, each_needs, null=True)
            if each_needs:
                needs.append(f"{over}.all({variable}, {_after(each_needs, 'true', 'false')})")
                body = _after(each_needs, body, _ABSENT)
        else:
            body = self.holds(macro.body)
        self._bound = outer
        self._macro_depth -= 1
        return f"{over}.{macro.name}({variable}, {body})"

    # -- paths, names and bindings ------------------------------------------------------------------------------------

    def path_of(self, node: Node) -> Path | None:
        """The path, if the node is nothing but one (at the top of an expression, outside macros)."""
        root, steps = (node.root, node.steps) if isinstance(node, Access) else (node, ())
        if not isinstance(root, Name) or (not steps and root.name in TYPES and root.name not in (self._known or ())):
            return None
        if not all(isinstance(step, Select) or (isinstance(step, Index) and _key(step) is not None) for step in steps):
            return None
        return self._path(root, steps)[0]

    def _path(self, root: Name, steps: tuple[Step, ...]) -> tuple[Path, tuple[Step, ...]]:
        """The static steps from a root variable, and the steps that are left."""
        if self._known is not None and root.name not in self._known:
            raise SyntaxRefused(f"unknown name {root.name!r}; known are {', '.join(sorted(self._known))}", root.at)
        self.roots.add(root.name)
        path: list[str | int] = [root.name]
        for taken, step in enumerate(steps):
            key = step.field if isinstance(step, Select) else _key(step) if isinstance(step, Index) else None
            if key is None:
                return tuple(path), steps[taken:]
            path.append(key)
        return tuple(path), ()

    def _read(self, path: Path, needs: _Needs, *, null: bool) -> str:
        read = self._slots.get((path, null))
        if read is None:
            number = len(self.reads)
            read = self._slots[path, null] = Read(path, f"v{number}", f"p{number}" if null else None)
            self.reads.append(read)
        _need(read.presence or f"{read.variable} != null", needs)
        return read.variable

    def _simple(self, text: str, needs: _Needs) -> str:
        """The text if it may stand several times, else a name for it."""
        return self._bind(text, needs) if any(sign in text for sign in "( {") else text

    def _bind(self, text: str, needs: _Needs) -> str:
        variable = self._fresh("t")
        needs.append(_Bind(variable, text))
        return variable

    def _fresh(self, letter: str) -> str:
        self._names += 1
        return f"{letter}{self._names}"


def _need(test: str, needs: _Needs) -> None:
    if test not in needs:
        needs.append(test)


def _key(step: Index) -> str | int | None:
    """The key of a step as it stands in the text, if it is a string without escapes or a whole number."""
    match step.key:
        case Literal(text, "string") if "\\" not in text and text[0] in "\"'":
            return text[3:-3] if text[:3] in ('"""', "'''") else text[1:-1]
        case Literal(text, "number") if text.isdecimal():
            return int(text)
    return None
