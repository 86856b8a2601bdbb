"""A Hugging Face data set is a corpus: its rows are the documents. Local folders stand in for the hub."""

import json
import sys
from pathlib import Path

import pytest

from scalemark.errors import InputError, StoreError
from scalemark.train.corpus import open_corpus
from scalemark.train.corpus.hub import hub_source


def data_set(folder: Path, split: str = "train", field: str = "text") -> Path:
    folder.mkdir(exist_ok=True)
    lines = [json.dumps({field: f"{split} row {index} " * 60}) for index in range(20)]
    (folder / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.mark.parametrize("named", ["", ":config", "a:b:c:d"])
def test_a_name_of_another_form_is_told(named: str) -> None:
    with pytest.raises(InputError, match="write hf:NAME"):
        hub_source(named)


def test_without_the_package_it_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r'needs datasets: run `pip install "scalemark\[hf\]"`'):
        open_corpus("hf:some/name", tmp_path)


class TestDataSets:
    """With the package that reads them."""

    @pytest.fixture(autouse=True)
    def _package(self) -> None:
        pytest.importorskip("datasets", reason="needs scalemark[hf]")

    def test_a_row_is_a_document(self, tmp_path: Path) -> None:
        corpus = open_corpus(f"hf:{data_set(tmp_path / 'rows')}", tmp_path / "corpora")
        assert corpus.identity.startswith("hf-rows@") and corpus.facts.documents == 20
        expected = "".join(f"train row {index} " * 60 + "\n" for index in (3, 11, 19))
        assert corpus.validation_path.read_text() == expected

    def test_the_split_can_be_named(self, tmp_path: Path) -> None:
        folder = data_set(data_set(tmp_path / "rows"), "test")
        corpus = open_corpus(f"hf:{folder}::test", tmp_path / "corpora")
        assert corpus.train_path.read_text().startswith("test row 0")

    @pytest.mark.parametrize("named", ["rows::unheard-of", "missing"])
    def test_one_that_is_not_there_is_told(self, tmp_path: Path, named: str) -> None:
        data_set(tmp_path / "rows")
        with pytest.raises(StoreError, match=r"cannot load the data set .*check the name"):
            open_corpus(f"hf:{tmp_path / named}", tmp_path / "corpora")

    def test_one_without_a_text_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match=r'row 1 of .* needs a string named "text"'):
            open_corpus(f"hf:{data_set(tmp_path / 'rows', field='content')}", tmp_path / "corpora")
