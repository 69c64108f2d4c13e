"""Whatever is done to a file of an export, it becomes a release that publishes, or is refused with place and mend."""

import random

import pytest

from adapters.importers.dro import import_dro
from domain.errors import BadRelease
from domain.publish import compile_release
from tests.support import dro

DAMAGE = ",;\t\n\r\"'|@~#\0 \ufeffN/A0a€"


def damaged(files: dict[str, bytes], draw: random.Random) -> dict[str, str | bytes]:
    """Some files with a few characters, cells, rows or columns of them changed."""
    found: dict[str, str | bytes] = dict(files)
    for name in draw.sample(sorted(files), draw.randint(1, 3)):
        text = files[name].decode()
        for _ in range(draw.randint(1, 3)):
            at, to = sorted(draw.choices(range(len(text) + 1), k=2))
            lines = text.splitlines(keepends=True)
            match draw.randrange(7):
                case 0:
                    text = text[:at] + draw.choice(DAMAGE) + text[at:]
                case 1:
                    text = text[:at] + text[min(to, at + 20) :]
                case 2:
                    text = text.replace(",", draw.choice(";\t|,"))
                case 3:
                    text = "".join(draw.sample(lines, len(lines)))
                case 4:
                    text += "".join(draw.choices(lines, k=2)) if lines else ""
                case 5:
                    cells = text.split(",")
                    cells[draw.randrange(len(cells))] = draw.choice(["", "#N/A", "x" * 300, "true", "-1", "Plan"])
                    text = ",".join(cells)
                case 6:
                    text = text[:at]
        found[name] = text if draw.random() < 0.5 else text.encode(draw.choice(["utf-8", "utf-16", "utf-8-sig"]))
        if draw.random() < 0.05:
            del found[name]
    return found


@pytest.mark.parametrize("seed", range(150))
def test_a_damaged_export_is_a_release_or_refused_with_place_and_mend(seed):
    draw = random.Random(seed)
    catalogue = draw.choice(["qb", "mfg"])
    try:
        imported = import_dro(damaged(dro.files_of(catalogue), draw), dro.bindings_of(catalogue), "1")
        compile_release(imported.release)
    except BadRelease as error:
        refusal = error
    else:
        return

    assert refusal.facts["problems"]
    assert refusal.mend
