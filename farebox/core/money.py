"""Money: integer pico-dollars inside, decimal text at the edges, never a float.

A *rate* is pico-dollars per `per` units of a meter (a million tokens, an hour of audio), so that the
cheapest published price ($0.0375 per million tokens) and every discount on it stay whole numbers.
"""

from decimal import Decimal, InvalidOperation, localcontext

from farebox.errors import InvalidMoney

PICO_PER_USD = 10**12
_PLACES = 12
_DIGITS_MAX = 10**27
# Up to these, count * rate is below 2**63, and so is all that it takes to round it.
_COUNT_MAX, _RATE_MAX = 10**6, 4 * 10**12


def parse_usd(value: str | int | Decimal) -> int:
    """Read dollars into pico-dollars, exactly.

    Raises InvalidMoney for text that is no finite number, and for a value finer than a pico-dollar: it is
    never rounded away in silence. Floats are refused by type.
    """
    if isinstance(value, str) and len(value) <= 40 and value[-13:-12] == ".":
        whole, rest = value[:-13], value[-12:]
        if whole.isdecimal() and rest.isdecimal():  # as `format_usd` writes it: a tenth of the time
            return int(whole) * PICO_PER_USD + int(rest)
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise InvalidMoney(f"{value!r} is not an amount: give a decimal string such as '0.0375'")
    try:
        usd = Decimal(value)
    except InvalidOperation:
        raise InvalidMoney(f"{value!r} is not an amount: give a decimal number such as 0.0375") from None
    if not usd.is_finite() or abs(usd.adjusted()) > 40:
        raise InvalidMoney(f"{value!r} is not an amount that can be kept")
    with localcontext() as context:
        context.prec = 100
        pico = usd * PICO_PER_USD
        exact = int(pico)
        if pico != exact:
            raise InvalidMoney(f"{value!r} is finer than a pico-dollar (12 decimal places)")
    return exact


def to_decimal(pico: int) -> Decimal:
    """Pico-dollars as an exact Decimal of dollars with 12 places."""
    if -_DIGITS_MAX < pico < _DIGITS_MAX:
        return Decimal(pico).scaleb(-_PLACES)  # exact up to a context's 28 digits, in a third of the time
    return Decimal(format_usd(pico))


def format_usd(pico: int) -> str:
    """Pico-dollars as a decimal string of dollars, always with 12 places: 412800000 -> '0.000412800000'."""
    sign = "-" if pico < 0 else ""
    whole, rest = divmod(abs(pico), PICO_PER_USD)
    return f"{sign}{whole}.{rest:0{_PLACES}d}"


def divide_half_even(numerator: int, denominator: int) -> int:
    """`numerator / denominator` to the nearest integer, ties to even: the one place where money rounds."""
    quotient, rest = divmod(numerator, denominator)
    twice = rest * 2
    if twice > denominator or (twice == denominator and quotient & 1):
        return quotient + 1
    return quotient


def share(count: int, rate: int, per: int) -> int:
    """`count * rate / per`, rounded as above. `per` is positive."""
    if 0 <= count <= _COUNT_MAX and 0 <= rate <= _RATE_MAX:
        return _small_share(count, rate, per)
    return divide_half_even(count * rate, per)


def _small_share(count: int, rate: int, per: int) -> int:
    """Where the product fits a machine word, compiled copies reckon with those. The same sum as `divide_half_even`."""
    whole = count * rate
    quotient = whole // per
    twice = (whole - quotient * per) * 2
    if twice > per or (twice == per and quotient & 1):
        return quotient + 1
    return quotient
