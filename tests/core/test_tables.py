from farebox.core.tables import csv_text


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
