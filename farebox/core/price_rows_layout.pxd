# Where the members of the module's Structs stand: see farebox/native.py, 'Structs'.

cdef extern from *:
    """
    typedef struct {
        PyObject_HEAD
        PyObject *appeared, *bands, *batch, *id, *least, *match, *model, *provider, *rates, *service_tier, *source;
        PyObject *source_hash, *speed, *valid_from, *valid_to, *variant, *windows;
    } FareboxPriceRow;
    typedef struct {
        PyObject_HEAD
        PyObject *bands, *marks, *multiplier, *rates, *row, *since_us, *until_us;
    } FareboxQuote;
    typedef struct {
        PyObject_HEAD
        PyObject *by_meter, *cost, *marks, *missing, *multiplier, *price_from, *price_id, *rates;
    } FareboxCharge;
    """

    ctypedef class farebox.core.price_rows.PriceRow [object FareboxPriceRow, check_size error]:
        cdef object appeared, bands, batch, id, least, match, model, provider, rates, service_tier, source
        cdef object source_hash, speed, valid_from, valid_to, variant, windows

    ctypedef class farebox.core.price_rows.Quote [object FareboxQuote, check_size error]:
        cdef object bands, marks, multiplier, rates, row, since_us, until_us

    ctypedef class farebox.core.price_rows.Charge [object FareboxCharge, check_size error]:
        cdef object by_meter, cost, marks, missing, multiplier, price_from, price_id, rates
