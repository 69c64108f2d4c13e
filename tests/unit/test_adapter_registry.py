"""Adapters are found by name, and what keeps one from being built is said with its mend."""

import sys
import textwrap
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from adapters import registry
from adapters.http import HttpAdapter
from adapters.registry import adapter_kinds, build_adapter
from adapters.simulated import SimulatedAdapter
from domain.errors import BadDocument

OWN = """
    from orderplan import Adapter, Outcome, Task

    class Own(Adapter):
        def __init__(self, folder: str = "in", *, limit: int = 1) -> None:
            if limit < 0:
                raise ValueError("limit is negative")
            self.given = (folder, limit)

        async def perform(self, task: Task) -> Outcome:
            return Outcome.completed()

        class Inner:
            async def perform(self, task): ...
            async def close(self): ...

    class WithoutPerform(Adapter):
        pass

    class WithoutClose:
        async def perform(self, task): ...

    class Blocking:
        def perform(self, task): ...
        async def close(self): ...

    number = 7
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Write modules that can be imported until the test ends."""
    monkeypatch.syspath_prepend(tmp_path)

    def write_one(name: str, source: str) -> None:
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source), encoding="utf-8")

    return write_one


@pytest.fixture
def own(write: Callable[[str, str], None]) -> None:
    write("own_adapters", OWN)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let packages name adapters: (name, address) each."""

    def install_all(*plugs: tuple[str, str]) -> None:
        points = EntryPoints(EntryPoint(name, address, "orderplan.adapters") for name, address in plugs)
        monkeypatch.setattr(registry, "entry_points", points.select)

    return install_all


def refusal(kind: str, config: dict[str, object] | None = None) -> BadDocument:
    with pytest.raises(BadDocument) as caught:
        build_adapter(kind, config or {})
    assert caught.value.mend
    return caught.value


def test_the_stock_adapters_have_names():
    assert isinstance(build_adapter("http", {"url": "https://billing.example"}), HttpAdapter)
    assert isinstance(build_adapter("simulated", {"seed": 1}), SimulatedAdapter)


def test_a_wrong_configuration_of_a_stock_adapter_is_refused_by_its_member():
    with pytest.raises(BadDocument, match=r"config\.url: is missing"):
        build_adapter("http", {})


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("config", "given"),
    [({}, ("in", 1)), ({"folder": "out"}, ("out", 1)), ({"folder": "out", "limit": 5}, ("out", 5))],
)
def test_a_class_of_ones_own_is_built_with_its_configuration_as_arguments(config, given):
    made: object = build_adapter("own_adapters:Own", config)

    assert made.given == given  # type: ignore[attr-defined]


@pytest.mark.usefixtures("own")
def test_a_class_inside_a_class_is_found():
    assert type(build_adapter("own_adapters:Own.Inner", {})).__name__ == "Inner"


@pytest.mark.usefixtures("own")
def test_a_name_from_an_installed_package_is_found(install):
    install(("own", "own_adapters:Own"))

    assert type(build_adapter("own", {"folder": "out"})).__name__ == "Own"
    assert adapter_kinds() == ("http", "simulated", "own")


@pytest.mark.usefixtures("own")
def test_an_installed_package_cannot_take_a_stock_name(install):
    install(("simulated", "own_adapters:Own"))

    assert isinstance(build_adapter("simulated", {}), SimulatedAdapter)
    assert adapter_kinds() == ("http", "simulated")


def test_an_unknown_name_is_refused_with_the_known_ones(install):
    install(("own", "own_adapters:Own"))
    error = refusal("htp")

    assert error.path == "adapter"
    assert "no adapter 'htp'" in error.reason
    assert "http, simulated, own" in str(error.mend)


def test_a_name_that_two_packages_give_is_refused_with_both(install):
    install(("own", "a:One"), ("own", "b:Two"))

    assert "a:One, b:Two" in refusal("own").reason


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("kind", "reason", "mend"),
    [
        ("own_adapters:", "names no class", "package.module:Class"),
        (":Own", "names no class", "package.module:Class"),
        ("own adapters:Own", "names no class", "package.module:Class"),
        ("no_such_module:Own", "no module 'no_such_module'", "install the package"),
        ("own_adapters.inner:Own", "no module 'own_adapters.inner'", "install the package"),
        ("own_adapters:Owm", "has no 'Owm'", "spelling"),
        ("own_adapters:number", "is no class but a int", "name the class"),
        ("own_adapters:WithoutPerform", "has no perform", "async def perform(self, task: Task) -> Outcome"),
        ("own_adapters:WithoutClose", "has no close", "async def close(self) -> None"),
        ("own_adapters:Blocking", "perform of adapter 'own_adapters:Blocking' is not async", "async def perform"),
    ],
)
def test_a_class_that_is_no_adapter_is_refused_with_its_mend(kind, reason, mend):
    error = refusal(kind)

    assert error.path == "adapter"
    assert reason in error.reason
    assert mend in str(error.mend)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("def f(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_module_that_cannot_be_imported_says_what_is_wrong_inside(write, source, reason):
    write("broken_adapters", source)
    error = refusal("broken_adapters:Own")

    assert "cannot be imported" in error.reason
    assert reason in error.reason
    assert "import broken_adapters" in str(error.mend)


@pytest.mark.usefixtures("own")
def test_arguments_that_the_class_does_not_take_are_refused_with_those_it_takes():
    error = refusal("own_adapters:Own", {"path": "secret"})

    assert error.path == "config"
    assert "unexpected keyword argument 'path'" in error.reason
    assert "Own(folder: str = 'in', *, limit: int = 1)" in str(error.mend)
    assert "secret" not in str(error)


@pytest.mark.usefixtures("own")
def test_a_constructor_that_refuses_is_heard():
    error = refusal("own_adapters:Own", {"limit": -1})

    assert error.path == "config"
    assert "ValueError: limit is negative" in error.reason
