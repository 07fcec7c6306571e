from farebox.core.events_layout cimport Head
from farebox.directory.snapshot_layout cimport KeyView
from farebox.providers.protocol_layout cimport Endpoint, Metered


cpdef bint is_bound(KeyView key) except -1
cpdef tuple told(Endpoint endpoint, status, Head head, Metered metered)
