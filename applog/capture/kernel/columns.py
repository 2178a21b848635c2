"""The kernel's arrays: what each column, counter and code means. Constants only.

Rules:
    1. Every number a kernel keeps is int64, in one of these arrays; the names here are their only meaning.
    2. A change here is a change of the kernel: the cache directory is named by the digest of all its files.
"""

# --- settings -----------------------------------------------------------------------------------
SEED, WANT_NAMES, WANT_DNS, WANT_DHCP = 0, 1, 2, 3
SETTINGS = 8

# --- packet index (written by framing.py) ---------------------------------------------------------
OFFSET, CAPTURED, WIRE, TIME, LINK = 0, 1, 2, 3, 4

# --- flow columns -----------------------------------------------------------------------------------
A_HIGH, A_LOW, B_HIGH, B_LOW, PORTS, META = 0, 1, 2, 3, 4, 5
ORDINAL, FLOW_START, SLICE_START, LAST, SLICE = 6, 7, 8, 9, 10
A_PACKETS, A_BYTES, A_PAYLOAD, B_PACKETS, B_BYTES, B_PAYLOAD = 11, 12, 13, 14, 15, 16
A_MAC, B_MAC, TCP_FLAGS, A_ISN, B_ISN = 17, 18, 19, 20, 21
A_BASE, B_BASE, A_NEED, B_NEED, A_GOT, B_GOT, A_COPIES, B_COPIES = 22, 23, 24, 25, 26, 27, 28, 29
STATE, CLOSE_AT, NEXT_SLICE, FIRST_PACKET, PROTOCOL = 30, 31, 32, 33, 34
SLICE_END, REASON, AT_PACKET = 35, 36, 37
FLOW_COLUMNS = 38

# META: protocol, then these bits, then the VLANs.
META_IPV6, META_FRAGMENT, META_PORTLESS = 1 << 8, 1 << 9, 1 << 10
META_VLAN_SHIFT, META_INNER_SHIFT = 16, 28

# STATE bits.
MIDSTREAM, ANSWERED, CLOSED, RESET, FIN_A, FIN_B, PEEKED = 1, 2, 4, 8, 16, 32, 64

# REASON.
CONTINUES, R_CLOSED, R_RESET, R_IDLE, R_REUSED, R_EVICTED, R_CUT, R_END = 0, 1, 2, 3, 4, 5, 6, 7

# PROTOCOL, also the kind of a peek.
P_NONE, P_TLS, P_HTTP, P_DNS, P_MDNS, P_LLMNR, P_DHCP4, P_DHCP6 = 0, 1, 2, 3, 4, 5, 6, 7
P_GRE, P_IPIP, P_6IN4, P_VXLAN, P_GENEVE, P_GTPU, P_TEREDO, P_L2TP, P_ESP, P_UNKNOWN = (
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
)

# --- peek columns: a flow row as it was, then these -------------------------------------------------
K_KIND, K_FROM_B, K_TIME, K_POSITION, K_START, K_LENGTH, K_PACKET = 38, 39, 40, 41, 42, 43, 44
PEEK_COLUMNS = 45

# --- events ---------------------------------------------------------------------------------------
E_KIND, E_FROM, E_TO, E_PACKET, E_FLOWS = 0, 1, 2, 3, 4
EVENT_COLUMNS = 5
E_CLOCK_JUMP = 1

# --- state and counters -----------------------------------------------------------------------------
Z_CLOCK, Z_SECOND, Z_SCAN, Z_HIGH, Z_FREE, Z_LIVE, Z_NEXT_ORDINAL, Z_PACKET = 0, 1, 2, 3, 4, 5, 6, 7
Z_OUT, Z_PEEKS, Z_PEEK_BYTES, Z_EVENTS, Z_JUMPING, Z_FIRST, Z_EVICTED = 8, 9, 10, 11, 12, 13, 14
C_PACKETS, C_IP, C_FRAGMENTS, C_NO_TIME, C_ZERO_LENGTH = 16, 17, 18, 19, 20
C_ARP, C_NOT_IP, C_LLC, C_UNKNOWN_LINK = 21, 22, 23, 24
C_SHORT_LINK, C_SHORT_IP, C_BAD_VERSION, C_BAD_HEADER_LENGTH, C_BAD_LENGTH, C_BAD_CHAIN = (
    25,
    26,
    27,
    28,
    29,
    30,
)
C_VLAN_DEPTH, C_CUT_TRANSPORT, C_BAD_TRANSPORT, C_BEYOND_WIRE, C_PEEKS_CAPPED = 31, 32, 33, 34, 35
BYTES_OF = 32  # a packet without an IP header adds its bytes this far behind its counter
AGES, AGE_CLASSES = 80, 2048  # scratch: how many flows have been idle for how long
PACKET = AGES + AGE_CLASSES  # scratch: the packet that is being read, PARSED numbers
STATE_SIZE = PACKET + 16

# --- parsed packet columns ----------------------------------------------------------------------------
X_PAYLOAD, X_SEEN, X_DATA, X_FLAGS, X_SEQUENCE, X_BYTES, X_MAC_FROM, X_MAC_TO, X_PROTOCOL = (
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
)
PARSED = 16

# --- time, µs -------------------------------------------------------------------------------------------
SECOND = 1_000_000
FIRST_SLICE, NEXT_SLICES, LINGER = 60 * SECOND, 300 * SECOND, 5 * SECOND
JUMP_BACK, JUMP_AHEAD = 60 * SECOND, 3600 * SECOND
YEAR_10000 = 253_402_300_800 * SECOND
NEVER = 0x7FFFFFFFFFFFFFFF

PEEK_WINDOW = 16_384
"""Bytes of each direction's beginning that may be looked at."""
PEEK_SEGMENTS = 48
"""Segments copied per direction at most: a bound on retransmissions."""

GROUP_SHIFT = 6
"""Rows are scanned in groups of 64, each with the earliest deadline in it."""

FIN, SYN, RST, ACK = 1, 2, 4, 16
