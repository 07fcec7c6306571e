cpdef divide_half_even(numerator, denominator)
