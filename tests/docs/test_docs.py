"""The documentation: its examples run, and it leaves nothing out."""

from __future__ import annotations

import contextlib
import doctest
import inspect
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import keras
import numpy as np
import pytest
import tensorflow as tf

import fastloss as fl

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="there are no sources of the docs here")


def _public() -> dict[str, Any]:
    """What `fl.__all__` names, and what its modules name, by name."""
    found: dict[str, Any] = {}
    for name in fl.__all__:
        thing = getattr(fl, name)
        if not isinstance(thing, ModuleType):
            found[name] = thing
        elif thing is not fl.losses:
            members = getattr(thing, "__all__", [])
            found |= {f"{name}.{member}": getattr(thing, member) for member in members}
    return {k: x for k, x in found.items() if inspect.isclass(x) or inspect.isfunction(x)}


PUBLIC = _public()
LOSSES = sorted(
    {
        thing.__name__
        for name in fl.losses.__all__
        if inspect.isclass(thing := getattr(fl, name)) and issubclass(thing, keras.losses.Loss)
    }
)
PAGES = sorted([ROOT / "README.md", *DOCS.glob("*.md")])


@pytest.fixture(autouse=True)
def untouched_settings() -> Iterator[None]:
    requested = fl.ops.library._requested
    yield
    fl.set_backend(requested)
    fl.unpatch_keras()


@pytest.fixture(scope="module")
def site() -> Iterator[ModuleType]:
    """The package that makes the pages."""
    sys.path.insert(0, str(DOCS))
    try:
        import generate

        yield generate
    finally:
        sys.path.remove(str(DOCS))


def _globals() -> dict[str, Any]:
    return {"fl": fl, "keras": keras, "np": np, "tf": tf}


EXAMPLES = {
    test.name: test
    for name, thing in PUBLIC.items()
    for test in doctest.DocTestFinder(recurse=False).find(thing, name, globs=_globals())
    if test.examples
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_docstrings_run(name: str) -> None:
    result = doctest.DocTestRunner().run(EXAMPLES[name])
    assert result.attempted and not result.failed


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_says_what_a_user_needs(name: str) -> None:
    cls = getattr(fl, name)
    text = inspect.getdoc(cls) or ""
    for part in ("Formula", "Gradient", "Example:", "Args:"):
        assert re.search(rf"^{part}", text, re.MULTILINE), part
    if name != "WeightedSum":
        assert re.search("^Reference: .*[12][0-9]{3}", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_argument_is_described(name: str) -> None:
    thing = PUBLIC[name]
    text = inspect.getdoc(thing) or ""
    if inspect.isclass(thing) and ("Args:" not in text or issubclass(thing, Exception)):
        # Made by the package, not by its users.
        assert "Attributes:" in text or issubclass(thing, Exception)
        return
    for parameter in inspect.signature(thing).parameters.values():
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
        shown = stars.get(parameter.kind, "") + parameter.name
        assert re.search(rf"^    {re.escape(shown)}: ", text, re.MULTILINE), shown


def _blocks(page: Path) -> list[tuple[str, str | None]]:
    """The Python blocks of a page, each with the block of plain text that follows it at once."""
    text = page.read_text(encoding="utf-8")
    fence = r"^```(\w*)\n(.*?)^```\n"
    found = list(re.finditer(fence, text, re.MULTILINE | re.DOTALL))
    blocks = []
    for i, block in enumerate(found):
        after = found[i + 1] if i + 1 < len(found) else None
        is_output = after is not None and after[1] in ("", "text")
        is_next = after is not None and not text[block.end() : after.start()].strip()
        if block[1] == "python" and "<!-- not run -->" not in text[: block.start()][-20:]:
            blocks.append((block[2], after[2] if after and is_output and is_next else None))
    return blocks


def _surroundings() -> dict[str, Any]:
    """What the examples take for granted: data, and a model of them."""
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", fl.MeanSquaredError())
    x = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)
    y = x[:, :1] * 2
    known = {"model": model, "x_train": x, "y_train": y, "x": x, "y": y}
    return {**_globals(), **known, "y_true": y, "y_pred": y + 0.5, "train": lambda: None}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_pages_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = _blocks(page)
    names = _surroundings()
    for number, (code, expected) in enumerate(blocks):
        if ">>>" in code:
            test = doctest.DocTestParser().get_doctest(code, names, page.name, str(page), 0)
            assert not doctest.DocTestRunner().run(test, clear_globs=False).failed
            continue
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(code, f"{page.name} block {number + 1}", "exec"), names)
        if expected is not None and out.getvalue():
            assert out.getvalue().rstrip() == expected.rstrip()


def test_every_public_name_has_a_page(site: ModuleType, tmp_path: Path) -> None:
    site.write_pages(tmp_path)
    text = "\n".join(page.read_text(encoding="utf-8") for page in tmp_path.rglob("*.md"))
    shown = set(re.findall(r"`fl\.([\w.]+)`", text))
    assert set(PUBLIC) <= shown


@pytest.mark.parametrize("name", LOSSES)
def test_the_page_of_a_loss_has_what_it_promises(name: str, site: ModuleType) -> None:
    from generate.groups import groups
    from generate.pages import page_of

    (group,) = (group for group in groups() if name in group.names)
    text = page_of(name)
    wanted = ["Formula", "Gradient", "Arguments", "Example"]
    if group.folder not in ("sums", "custom"):
        wanted += ["When to use it", "As a function", "Source"]
        if "Lovasz" not in name:
            wanted.append("Accuracy")
    assert [x for x in wanted if f"\n## {x}\n" not in text] == []
    assert '<math display="block"' in text


def test_formulas_are_well_formed(site: ModuleType, tmp_path: Path) -> None:
    found = 0
    for page in site.write_pages(tmp_path):
        for markup in re.findall("<math.*?</math>", page.read_text(encoding="utf-8")):
            found += 1
            plain = re.sub("&(?!amp|lt|gt|quot|#)([a-z]+);", r"\1", markup)
            for element in ElementTree.fromstring(plain).iter():
                if element.tag in ("msup", "msub", "mfrac"):
                    assert len(element) == 2, markup
    assert found > 2 * len(LOSSES)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("4 / b c", "<mfrac><mrow><mn>4</mn></mrow><mrow><mi>b</mi></mrow></mfrac>"),
        ("y_true", "<msub><mi>y</mi><mtext>true</mtext></msub>"),
        ("z_loss", "<mtext>z_loss</mtext>"),
        ("l1", "<msub><mi>l</mi><mn>1</mn></msub>"),
        (
            "p[t]^q",
            "<msup><mrow><msub><mrow><mi>p</mi></mrow><mrow><mi>t</mi></mrow></msub></mrow>",
        ),
        ("|a| b |c|", '<mo fence="true">|</mo></mrow><mo>&#x2062;</mo><mi>b</mi>'),
        ("z_loss y", '<mtext>z_loss</mtext><mo>&#x2062;</mo><mspace width="0.2em"/><mi>y</mi>'),
        ("x if x > 0 else 0", "<mtext>else</mtext>"),
        ("dU / U", "<mrow><mi>d</mi><mi>U</mi></mrow>"),
        ("a <= b", "<mo>≤</mo>"),
    ],
)
def test_formulas_are_typeset(text: str, shown: str, site: ModuleType) -> None:
    from generate.formula import mathml

    assert shown in mathml(text)


def test_products_and_quotients_bind_from_the_left(site: ModuleType) -> None:
    from generate.formula import mathml

    number, name = "<mn>4</mn>", "<mi>b</mi>"
    fraction = f"<mfrac><mrow>{number}</mrow><mrow>{name}</mrow></mfrac>"
    assert f"{fraction}<mo>&#x2062;</mo><mi>c</mi>" in mathml("4 / b c")
    assert "<mrow><mi>b</mi><mo>&#x2062;</mo><mi>c</mi></mrow>" in mathml("4 / (b c)")


@pytest.mark.parametrize("text", ["a +", "keras.config.epsilon()", "(a", "a if b", "a, b", ""])
def test_what_is_no_formula_is_refused(text: str, site: ModuleType) -> None:
    from generate.formula import FormulaError, mathml

    with pytest.raises(FormulaError):
        mathml(text)


def test_a_name_close_to_a_parenthesis_is_a_function(site: ModuleType) -> None:
    from generate.formula import mathml

    assert "&#x2061;" in mathml("f(x)") and "&#x2061;" not in mathml("f (x)")


def test_the_page_of_measurements_has_those_of_the_record(site: ModuleType, tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    columns = "date,commit,machine,threads,isa,os,tensorflow,keras,numpy,python,loss,arguments,"
    columns += "shape,dtype,mode,contender,ms_median,peak_extra_bytes"
    same = "2026-01-02T00:00:00Z,abc,CPU,2,avx2,Linux,2.21,3.15,2.4,3.11,huber,,2x3,float32,"
    rows = [
        f"{same}forward+gradient,{contender},{milliseconds},{peak}"
        for contender, milliseconds, peak in (
            *(("keras_graph", 300, 2_000_000), ("fastloss_graph", 20, 1_000_000)),
            ("roof", 10, ""),
        )
    ]
    (results / "some.csv").write_text("\n".join([columns, *rows]))
    site.write_performance(tmp_path / "performance.md", results)
    text = (tmp_path / "performance.md").read_text()
    assert "| `huber` | 300 | 20 | 10 | 15.0 | 2 / 1 |" in text
    assert "15.0 times as fast as Keras in graph mode, 50% of the speed of the copy." in text
    errors = (
        f"{same}forward+gradient,keras_graph,,,out of memory",
        f"{same}forward+gradient,fastloss_graph,20,1000000,",
    )
    (results / "some.csv").write_text("\n".join([f"{columns},error", *errors]))
    site.write_performance(tmp_path / "performance.md", results)
    text = (tmp_path / "performance.md").read_text()
    assert "| `huber` | out of memory | 20 |  |  | - / 1 |" in text
    assert "## some" in text and "### float32, 2 x 3" in text and "`abc`, 2026-01-02" in text


def test_every_record_has_a_title(site: ModuleType) -> None:
    from generate.performance import ABOUT

    assert {x.stem for x in (ROOT / "bench" / "results").glob("*.csv")} == set(ABOUT)


def test_the_table_of_the_readme_is_that_of_the_records(site: ModuleType) -> None:
    from generate.headline import headline_table

    assert headline_table() in (ROOT / "README.md").read_text(encoding="utf-8")


def test_names_on_pages_are_linked(site: ModuleType) -> None:
    text = "`Huber`, `fl.mse`, [`Dice`](x.md), `huber(1)`\n```\n`Huber`\n```\n"
    assert site.linked(text) == (
        "[`Huber`](api/regression/huber.md), [`fl.mse`](api/regression/mean_squared_error.md), "
        "[`Dice`](x.md), `huber(1)`\n```\n`Huber`\n```\n"
    )


def test_pictures_are_drawn_for_every_loss(site: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("fastloss.plot")
    import make_pictures

    assert set(LOSSES) - set(make_pictures.losses()) == {"MultiTask", "Regularized", "WeightedSum"}
    assert set(make_pictures.VARIANTS) <= set(make_pictures.losses())
    picture = make_pictures.draw("Huber", tmp_path)
    assert picture.name == "huber.svg" and "<svg" in picture.read_text(encoding="utf-8")
