"""The fuzzer runs, finds nothing in a few seconds, and would find something if there were something."""

import numpy as np
import pytest

from applog.capture.kernel import columns as c
from applog.capture.losses import _PACKET_REASONS
from tests.fuzz.fuzz_capture import (
    BrokenPromiseError,
    Tally,
    _check_counters,
    _decode,
    fuzz,
    main,
)


def test_a_short_run_finds_nothing() -> None:
    """Hostile packets, payloads and files: nothing raises, hangs or is lost."""
    tally = fuzz(packets=200_000, seconds=60, seed=1, decodes=300, files=150)

    assert (tally.packets, tally.files) == (200_000, 150)
    assert tally.decoded > 14 * 300


@pytest.mark.parametrize(
    ("ip", "reason", "counted"), [(9, 0, 9), (9, 2, 9), (9, 1, 8)], ids=["lost", "twice", "not in a record"]
)
def test_a_packet_that_is_not_accounted_for_is_a_failure(ip: int, reason: int, counted: int) -> None:
    """The sums must agree to the packet."""
    state = np.zeros(c.STATE_SIZE, np.int64)
    state[c.C_PACKETS], state[c.C_IP], state[next(iter(_PACKET_REASONS))] = 10, ip, reason

    with pytest.raises(BrokenPromiseError):
        _check_counters(state, 10, counted)


def test_a_decoder_that_raises_is_a_failure() -> None:
    """The message holds the input."""
    with pytest.raises(BrokenPromiseError, match="616263"):
        _decode(lambda data: data[7], b"abc", Tally())


def test_the_script_prints_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With its seed, so that a run can be repeated."""
    assert main(["--packets", "1000", "--seconds", "4", "--seed", "7"]) == 0

    printed = capsys.readouterr().out
    assert printed.startswith("seed 7: 1,000 packets")
    assert printed.count("\n") == 1
