import csv
import io

import pytest

from farebox.core.tables import csv_text

NAMES = (
    "=1+2", "+1+2", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1+2", "\uff1dcmd", "=cmd|'/C calc'!A1",
    "<script>alert(1)</script>", "\u202etxt.exe", "\u0645\u0633\u062a\u0623\u062c\u0631",
    "x" * 256, 'a"b,c;d\r\n=e', "{\\rtf1}",
)  # fmt: skip


def test_a_table_has_a_header_and_a_line_a_row():
    rows = [
        {"tenant": 'a "big", one', "spend": "1.200000000000", "calls": 3},
        {"tenant": None, "spend": None, "calls": 0},
    ]
    assert csv_text(["tenant", "spend", "calls"], rows) == (
        'tenant,spend,calls\r\n"a ""big"", one",1.200000000000,3\r\n,,0\r\n'
    )


def test_a_name_that_looks_like_a_formula_is_text_and_a_negative_amount_a_number():
    rows = [{"a": "=HYPERLINK(1)", "b": "-0.50"}, {"a": "@x", "b": -3}, {"a": "-x", "b": True}]
    assert csv_text(["a", "b"], rows) == "a,b\r\n'=HYPERLINK(1),-0.50\r\n'@x,-3\r\n'-x,true\r\n"


def test_no_rows_leave_the_header():
    assert csv_text(["tenant"], []) == "tenant\r\n"


@pytest.mark.parametrize("name", NAMES)
def test_a_strangers_name_is_one_cell_that_runs_nothing(name: str) -> None:
    text = csv_text([name, "b"], [{name: name, "b": "-1.5"}])
    header, row = csv.reader(io.StringIO(text, newline=""))
    for cell in (header[0], row[0]):
        assert cell in (name, f"'{name}")
        assert not cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d")) and cell[0] not in "\t\r\n"
    assert (header[1], row[1]) == ("b", "-1.5")
