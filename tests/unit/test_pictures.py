"""Pictures of delay models: well-formed, the same each time, and with what they show in the right places."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from delay import pictures
from delay.stock.watch import by_tick, figures

AT = datetime(2030, 1, 7, 9, 0, tzinfo=UTC)


def lines_of(text: str) -> list[list[tuple[float, float]]]:
    root = ET.fromstring(text)
    found = root.findall("{http://www.w3.org/2000/svg}polyline")
    places = [[each.split(",") for each in line.attrib["points"].split()] for line in found]
    return [[(float(one), float(other)) for one, other in line] for line in places]


def test_a_report_has_three_pictures_of_each_model(tmp_path):
    rng = np.random.Generator(np.random.PCG64(1))
    said = rng.random(800)
    late = (rng.random(800) < said).astype(float)
    tick = np.tile([0.25, 0.5, 0.75, 0.9], 200)
    found = figures(late, said) | by_tick(late, said, tick)
    names = pictures.write_pictures(tmp_path / "new", {"own": found, "<other>": found}, "simulated & made up")
    texts = [(tmp_path / "new" / name).read_text(encoding="utf-8") for name in names]

    assert names == ("reliability.svg", "earliness.svg", "worklist.svg")
    assert [len(lines_of(each)) for each in texts] == [3, 2, 2]
    assert all("simulated &amp; made up" in each and "&lt;other&gt;" in each for each in texts)
    assert found["worklistByTick"]["50%"] > 0.7
    pictures.write_pictures(tmp_path / "new", {"own": found, "<other>": found}, "simulated & made up")
    assert texts == [(tmp_path / "new" / name).read_text(encoding="utf-8") for name in names]


def colours_of(text: str) -> dict[str | None, str]:
    root = ET.fromstring(text)
    namespace = "{http://www.w3.org/2000/svg}"
    names = [each for each in root.findall(f"{namespace}text") if each.attrib.get("fill", "#555") != "#555"]
    lines = [each.attrib["stroke"] for each in root.findall(f"{namespace}polyline")]
    assert lines == [each.attrib["fill"] for each in names], "a name has the colour of its line"
    return {each.text: each.attrib["fill"] for each in names}


def test_a_model_has_one_colour_in_all_pictures_of_a_report(tmp_path):
    ticks = {"25%": 0.7, "50%": 0.8}
    found = {"reliability": [[0.1, 0.2, 10], [0.8, 0.7, 10]], "aucByTick": ticks, "worklistByTick": ticks}
    names = pictures.write_pictures(tmp_path, {name: found for name in ("own", "critical-path")}, "made up")
    first, *others = [colours_of((tmp_path / name).read_text(encoding="utf-8")) for name in names]

    assert first.pop("as it should be") == pictures.GREY
    assert first["own"] != first["critical-path"]
    assert others == [first, first]


def test_bins_in_which_the_same_was_said_are_one_point_of_the_reliability_curve():
    bins = [[0.1, 0.0, 30], [0.1, 0.4, 10], [0.5, 0.5, 20]]
    _, own = lines_of(pictures.reliability_curve({"own": bins}, "made up"))
    _, merged = lines_of(pictures.reliability_curve({"own": [[0.1, 0.1, 40], [0.5, 0.5, 20]]}, "made up"))

    assert own == merged
    assert len(own) == 2


def test_a_history_rises_in_the_picture_where_the_risk_rises():
    points = [
        {"scoredAt": (AT + timedelta(hours=at)).isoformat(), "risk": risk} for at, risk in enumerate((0.1, 0.6, 0.3))
    ]
    ((first, second, third),) = lines_of(pictures.risk_history(points, AT + timedelta(hours=4), "an order", "made up"))

    assert first[0] < second[0] < third[0]
    assert second[1] < third[1] < first[1], "upwards is less in SVG"
    with pytest.raises(ValueError, match="no scores"):
        pictures.risk_history([], AT, "an order", "")
