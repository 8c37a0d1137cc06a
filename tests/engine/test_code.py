import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, tiny_overrides

from reid.engine.code import FEATURES, FIGURES, LEFT_OUT, MOMENTS, PACKAGE, TRAINING, VALIDATION, canonical, digest
from reid.errors import InputError

SOURCE = '''
"""A module."""
import math


class Pool:
    """Pools."""

    size: int = 1_000

    def __call__(self, x, *, key="a"):
        """Mean."""
        return f"{x!r:>{self.size}}" + key if x else (math.pi, [None, {"b": 2}])
'''


def package(folder: Path, **sources: str) -> Path:
    for name, text in sources.items():
        (folder / "models" / f"{name}.py").parent.mkdir(parents=True, exist_ok=True)
        (folder / "models" / f"{name}.py").write_text(text)
    return folder


def own(folder: Path, **sources: str) -> str:
    return digest(package(folder, **sources), ("models",))


def test_comments_docstrings_and_formatting_count_for_nothing(tmp_path):
    plain = own(tmp_path / "plain", pool=SOURCE)
    rewritten = (
        SOURCE.replace('"""A module."""', "# nothing\r\n")
        .replace('        """Mean."""\n', "")
        .replace("1_000", "1000  # many")
        .replace('"a"', "'a'")
        .replace("math.pi, [", "math . pi ,\n            [")
    )
    assert own(tmp_path / "rewritten", pool=rewritten) == plain != own(tmp_path / "empty", pool="")
    assert digest(package(tmp_path / "a", pool=SOURCE, other="x = 1"), ("models/other.py", "models")) == digest(
        package(tmp_path / "b", other="x = 1", pool=SOURCE), ("models",)
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1_000", "1001"),
        ("1_000", "1000.0"),
        ('"a"', 'b"a"'),
        ("if x else", "if not x else"),
        ("!r", "!s"),
        ("[None", "[0"),
        ("*, key", "key"),
        ("math.pi", "math.e"),
        ("import math\n", "import cmath as math\n"),
    ],
)
def test_whatever_runs_counts(tmp_path, old, new):
    assert own(tmp_path / "before", pool=SOURCE) != own(tmp_path / "after", pool=SOURCE.replace(old, new, 1))


def test_a_module_added_or_renamed_counts(tmp_path):
    found = {
        own(tmp_path / "one", a="x = 1"),
        own(tmp_path / "name", b="x = 1"),
        own(tmp_path / "two", a="x = 1", c=""),
    }
    assert len(found) == 3


def test_the_text_of_a_tree_is_the_same_in_all_versions_of_python():
    """Worked out by hand: no positions, no empty fields, which versions list or leave out as they like."""
    tree = ast.parse('def f(a, *, b=None):\n    "Doc."\n    return -a["k"] or f"{b}!"\n')
    assert canonical(tree) == (
        "Module(body=[FunctionDef(name='f',args=arguments(args=[arg(arg='a')],kwonlyargs=[arg(arg='b')],"
        "kw_defaults=[NoneType:None]),body=[Return(value=BoolOp(op=Or(),values=[UnaryOp(op=USub(),operand="
        "Subscript(value=Name(id='a',ctx=Load()),slice=str:'k',ctx=Load())),JoinedStr(values=[FormattedValue("
        "value=Name(id='b',ctx=Load()),conversion=-1),str:'!'])]))])])"
    )


def test_a_source_that_cannot_be_read_is_named(tmp_path):
    package(tmp_path, broken="def f(:")
    for part in ("models", "models/none.py"):
        with pytest.raises(InputError, match=r"(broken|none).py: cannot be read to tell which code is at work"):
            digest(tmp_path, (part,))


def test_what_is_named_is_there_and_a_copy_has_the_same(tmp_path):
    copy = tmp_path / "site-packages" / "reid"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for parts in (TRAINING, VALIDATION, FEATURES, FIGURES, MOMENTS):
        assert all((PACKAGE / part).exists() for part in parts)
        assert digest(copy, parts) == digest(PACKAGE, parts)
    assert all((PACKAGE / name).is_file() for name in LEFT_OUT)


def test_reports_decide_nothing_and_pooling_decides_all(tmp_path):
    """A change in each of some files, and which digests it changes: training, validation, features, figures."""
    all_parts = (TRAINING, VALIDATION, FEATURES, FIGURES)
    before = [digest(PACKAGE, parts) for parts in all_parts]
    for name, expected in (
        ("models/backbone.py", [True, False, True, False]),
        ("data/transforms.py", [True, False, True, False]),
        ("losses/pairs.py", [True, False, False, False]),
        ("engine/adabn.py", [False, False, True, False]),
        ("retrieval/kernels.py", [False, True, False, True]),
        ("evaluation/evaluate.py", [False, False, False, True]),
        ("evaluation/results.py", [False, False, False, True]),  # means over random splits
        ("retrieval/features.py", [False, True, True, True]),  # reads the files that a network may be
        ("data/layouts.py", [False] * 4),
        ("data/names.py", [False] * 4),
        ("report/formats.py", [False] * 4),
        ("cli.py", [False] * 4),
    ):
        copy = tmp_path / name.replace("/", "_") / "reid"
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        assert (copy / name).is_file()
        with (copy / name).open("a") as file:
            file.write("\nCHANGED = 1\n")
        assert [digest(copy, parts) != was for parts, was in zip(all_parts, before, strict=True)] == expected, name


def test_another_pooling_is_noticed_by_train_and_evaluate(market, tmp_path):
    """The whole program, with the mean replaced by the maximum between two calls of train."""
    for name in ("reid", "configs", "datasets", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "tools/train.py", "--cfg", "market_bn.yaml", *tiny_overrides(market), "optim.steps=2"]

    def run() -> tuple[str, str]:
        environment = {"PYTHONPATH": str(tmp_path), "NUMBA_DISABLE_JIT": "1"}  # else it compiles all anew
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    first, first_words = run()
    again, again_words = run()
    assert again == first and "other code" not in first_words + again_words
    source = tmp_path / "reid" / "models" / "backbone.py"
    mean = "maps.mean(dim=(2, 3), dtype=torch.promote_types(maps.dtype, torch.float32))"
    assert mean in source.read_text()
    source.write_text(source.read_text().replace(mean, "maps.float().amax(dim=(2, 3))"))
    other, words = run()
    assert "finished, but made by other code (" in words and other != first
