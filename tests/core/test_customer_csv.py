"""What spreadsheets make of a table of customers, read line by line."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.customer_csv import lines
from farebox.core.money import PICO_PER_USD
from farebox.core.tables import csv_text
from farebox.errors import InvalidBooks

HEADER = "tenant,name,owner_email,started_on,plan,plan_from,billing_anchor,month,revenue,utm_source,utm_medium,region\n"
ACME = "acme,Acme Inc.,ann@acme.com,2026-02-03,pro,2026-03-01,15,2026-11,1234.50,google,cpc,eu\n"


def errors(text: str) -> dict[int, str]:
    return {line.number: str(line.error) for line in lines(text.encode()) if line.error}


def test_each_column_says_its_part_and_any_other_is_an_attribute() -> None:
    [line] = lines((HEADER + ACME).encode())
    said = line.statement
    assert said is not None
    assert (line.number, said.tenant, said.plan, said.plan_from) == (2, "acme", "pro", date(2026, 3, 1))
    assert said.written == {
        "name": "Acme Inc.",
        "owner_email": "ann@acme.com",
        "started_on": "2026-02-03",
        "billing_anchor": "15",
        "source": "google",
        "medium": "cpc",
        "attributes": {"region": "eu"},
    }
    [booking] = said.bookings
    assert (booking.month, booking.amount, booking.source) == ("2026-11", 1234_500 * PICO_PER_USD // 1000, "csv")
    assert booking.is_total


def test_an_empty_cell_says_nothing_and_none_is_no_plan() -> None:
    found = [
        line.statement for line in lines(b"tenant,name,plan,month,revenue\nacme,,none,2026-11,\n\n,,,,\nglobex,,,,")
    ]
    assert [(said.tenant, said.written, said.says_plan, said.plan, said.bookings) for said in found if said] == [
        ("acme", {}, True, None, ()),
        ("globex", {}, False, None, ()),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbftenant,name\r\nacme,Acme\r\n",
        b"tenant;name\nacme;Acme\n",
        b"tenant\tname\nacme\tAcme",
        b'"Tenant ID","Name"\n"acme","Acme"\n',
        b"name,customer\nAcme, acme \n",
    ],
)
def test_what_spreadsheets_write_is_read(content: bytes) -> None:
    [line] = lines(content)
    assert line.statement is not None
    assert (line.statement.tenant, line.statement.written) == ("acme", {"name": "Acme"})


def test_a_line_break_inside_quotes_is_part_of_its_line_and_numbers_go_on_rightly() -> None:
    found = errors('tenant,name\nacme,"a\nb"\nglobex,x,y\n')
    assert list(found) == [2, 4]
    assert "printable" in found[2] or "characters" in found[2]


def test_every_error_is_told_by_its_line() -> None:
    rows = (
        "acme,pro,2026-11,29\n"  # 2
        ",pro,2026-11,29\n"  # 3
        'globex,pro,2026-11,"1,234.50"\n'  # 4
        "globex,pro,11/2026,5\n"  # 5
        "globex,pro,,5\n"  # 6
        "globex,pro\n"  # 7
        "acme,pro,2026-11,30\n"  # 8
        "globex,pro,2026-11,5\n"  # 9
        'globex,"pro\n'  # 10
    )
    found = errors("tenant,plan,month,revenue\n" + rows)
    assert list(found) == [3, 4, 5, 6, 7, 8, 10]
    assert "a customer is named" in found[3]
    assert "without thousands separators" in found[4]
    assert "2026-11" in found[5]
    assert "without a month" in found[6]
    assert "2 cells" in found[7]
    assert "line 2 has revenue of acme for 2026-11" in found[8]
    assert "not closed" in found[10]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no column 'tenant'"),
        (b"name,plan\nx,y\n", "no column 'tenant'"),
        (b"tenant,tenant_id\nx,y\n", "two columns say 'tenant'"),
        (b"tenant,region,region\nx,y,z\n", "two columns say 'region'"),
        (b"tenant,\nx,y\n", "with a name"),
        (b"tenant,revenue\nx,1\n", "column 'month'"),
        (b"tenant\nacme\nm\xfcller\n", "line 3 is not UTF-8"),
        (b"PK\x03\x04\0\0", "no CSV file"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(content: bytes, says: str) -> None:
    with pytest.raises(InvalidBooks, match=says):
        list(lines(content))


def test_a_cell_that_is_too_long_is_said_to_be_too_long() -> None:
    found = errors(f"tenant,name\nacme,{'x' * 131_073}\nglobex,Globex\n")
    assert list(found) == [2]
    assert "more than 131,072 characters" in found[2]
    with pytest.raises(InvalidBooks, match="more than 131,072 characters"):
        list(lines(f"tenant,{'x' * 131_073}\n".encode()))


def test_a_formula_is_only_ever_text() -> None:
    [line] = lines(b'tenant,name\nacme,"=HYPERLINK(""http://evil"")"\n')
    assert line.statement is not None
    assert line.statement.written["name"] == '=HYPERLINK("http://evil")'
    exported = csv_text(("tenant", "name"), [{"tenant": "acme", "name": "=1+1"}])
    assert "'=1+1" in exported
    [again] = lines(exported.encode())
    assert again.statement is not None
    assert again.statement.written["name"] == "=1+1"


@given(st.text(max_size=60), st.sampled_from([",", ";", "\t"]))
def test_no_file_breaks_it(text: str, delimiter: str) -> None:
    for content in (text.encode("utf-8", "surrogatepass"), f"tenant{delimiter}name\n{text}".encode(errors="replace")):
        try:
            assert all((line.error is None) != (line.statement is None) for line in lines(content))
        except InvalidBooks as error:
            assert str(error)
