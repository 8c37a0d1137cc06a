import sqlite3

import pytest

from reid.errors import InputError
from reid.gallery.catalogue.database import SQLite


@pytest.mark.parametrize("content", [b"", b"x" * 5000])
def test_what_is_no_catalogue_is_refused(tmp_path, content):
    path = tmp_path / "catalogue.db"
    path.write_bytes(content)
    with pytest.raises(InputError, match="catalogue.db: (is not the catalogue of a gallery|file is not a database)"):
        SQLite(path)
    with pytest.raises(InputError, match="unable to open database file"):
        SQLite(tmp_path / "nothing.db")
    assert [each.name for each in tmp_path.iterdir()] == ["catalogue.db"]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("PRAGMA user_version = 7", "has format 7, this version of reid reads format 2"),
        ("DROP TABLE settings", "its tables are not those of format 2: damaged, or altered"),
        ("CREATE TRIGGER t AFTER DELETE ON entries BEGIN SELECT load_extension('x'); END", "damaged, or altered"),
        ("CREATE VIEW v AS SELECT 1", "damaged, or altered"),
    ],
)  # fmt: skip
def test_another_database_is_refused(tmp_path, statement, message):
    SQLite(tmp_path / "catalogue.db", make=True).close()
    db = sqlite3.connect(tmp_path / "catalogue.db")
    db.execute(statement)
    db.close()
    with pytest.raises(InputError, match=f"catalogue.db: .*{message}"):
        SQLite(tmp_path / "catalogue.db")


def test_damaged_pages_are_told(tmp_path):
    path = tmp_path / "catalogue.db"
    SQLite(path, make=True).close()
    content = bytearray(path.read_bytes())
    content[2 * 4096 : 3 * 4096] = b"\xa5" * 4096
    path.write_bytes(content)
    db = SQLite(path)
    try:
        assert db.problems()
    except InputError as error:
        assert "malformed" in str(error)
    finally:
        db.close()


def test_a_transaction_is_all_or_nothing(tmp_path):
    db = SQLite(tmp_path / "catalogue.db", make=True)
    with pytest.raises(ZeroDivisionError), db.transaction():
        db.run("INSERT INTO settings VALUES ('a', 'b')")
        with db.transaction():
            db.run("INSERT INTO settings VALUES ('c', 'd')")
        raise ZeroDivisionError
    assert db.run("SELECT * FROM settings") == []
    db.close()
