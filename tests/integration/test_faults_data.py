# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""The state itself, and the commands around it, go wrong in every way that a
device has; and a device cannot be brought back either."""
import pytest

from faults import Case, IMPATIENT

# Of 1 MiB of state: the first byte, within the initial part, where a message
# begins, one in the middle, and one of what is left when the device has
# stopped.  The last is alone in its message only if messages are small.
LATE = (1 << 20) + 24000
OFFSETS = [0, 1000, 65536, 500000, LATE]
SMALL_READS = ",read-size=4096"

# Whether the bulk goes while the device runs.
MODES = ["all", "stop-copy"]

BAD_ANSWERS = ["id", "command", "type", "size-small", "size-large",
               "error-zero"]
BAD_READS = BAD_ANSWERS + ["count", "truncated"]
HARMLESS = ["extra-fd", "longer"]


def keys(offset):
    return SMALL_READS if offset == LATE else ""


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("features", MODES)
def test_a_source_that_cannot_read_its_state_runs_on(features, offset,
                                                     tmp_path):
    with Case(tmp_path, features,
              here=("--fail", f"read@{offset}:EIO"),
              here_keys=keys(offset)) as case:
        case.run().check(1, 1)


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("features", MODES)
def test_a_target_that_does_not_take_its_state_is_reset(features, offset,
                                                        tmp_path):
    with Case(tmp_path, features,
              there=("--fail", f"write@{offset}:EIO")) as case:
        case.run().check(1, 1)


@pytest.mark.parametrize("short", ["read@1", "read@65536",
                                   "read@4096:4096,count=3",
                                   "read@500000:1,count=3"])
@pytest.mark.parametrize("features", MODES)
def test_a_source_that_reads_less_than_it_could_is_none_the_worse(
        features, short, tmp_path):
    with Case(tmp_path, features, here=("--short", short)) as case:
        case.run().check(0, 0)


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("features", MODES)
def test_damage_within_the_source_is_found_by_the_target(features, offset,
                                                         tmp_path):
    """Before any digest of ours: only the device can know."""
    with Case(tmp_path, features,
              here=("--corrupt", f"read@{offset}:data"),
              here_keys=keys(offset)) as case:
        case.run().check(1, 1)


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("features", MODES)
def test_damage_within_the_target_is_found_by_it(features, offset, tmp_path):
    with Case(tmp_path, features,
              there=("--corrupt", f"write@{offset}:data")) as case:
        case.run().check(1, 1)


@pytest.mark.parametrize("part", BAD_READS)
@pytest.mark.parametrize("offset", [0, LATE])
def test_a_bad_answer_to_a_read_is_never_state(offset, part, tmp_path):
    with Case(tmp_path, here=("--corrupt", f"read@{offset}:{part}"),
              here_keys=keys(offset)) as case:
        case.run().check(1 if part == "error-zero" else 3, 1)


@pytest.mark.parametrize("part", BAD_ANSWERS)
@pytest.mark.parametrize("offset", [0, LATE])
def test_a_bad_answer_to_a_write_is_noticed(offset, part, tmp_path):
    with Case(tmp_path,
              there=("--corrupt", f"write@{offset}:{part}")) as case:
        case.run().check(1, 1 if part == "error-zero" else 3)


@pytest.mark.parametrize("part", HARMLESS)
def test_an_answer_with_too_much_is_none_the_worse(part, tmp_path):
    with Case(tmp_path, here=("--corrupt", f"read@0:{part}"),
              there=("--corrupt", f"write@0:{part}")) as case:
        case.run().check(0, 0)


@pytest.mark.parametrize("when", ["before", "mid", "after", "unanswered"])
@pytest.mark.parametrize("offset", [0, 500000])
@pytest.mark.parametrize("features", MODES)
def test_a_device_that_hangs_up_in_its_state_is_given_up(features, offset,
                                                         when, tmp_path):
    (tmp_path / "source").mkdir()
    with Case(tmp_path / "source", features,
              here=("--close", f"read@{offset},when={when}")) as case:
        case.run().check(3, 1)
    (tmp_path / "target").mkdir()
    with Case(tmp_path / "target", features,
              there=("--close", f"write@{offset},when={when}")) as case:
        case.run().check(1, 3)


@pytest.mark.parametrize("offset", [0, 500000])
def test_a_device_that_never_answers_in_its_state_is_given_up(offset,
                                                              tmp_path):
    (tmp_path / "source").mkdir()
    with Case(tmp_path / "source", here=("--delay", f"read@{offset}:0"),
              here_keys=IMPATIENT) as case:
        case.run().check(3, 1)
    (tmp_path / "target").mkdir()
    with Case(tmp_path / "target", there=("--delay", f"write@{offset}:0"),
              there_keys=IMPATIENT) as case:
        case.run().check(1, 3)


def test_a_device_that_is_slow_is_waited_for(tmp_path):
    with Case(tmp_path,
              here=("--delay", "read@0:100", "--delay", "RUNNING>PRE_COPY:100"),
              there=("--delay", "write@0:100",
                     "--delay", "RESUMING>STOP:100")) as case:
        case.run().check(0, 0)


# Commands beside the transitions and the data, from the first that the move
# itself sends; the others come when the device is opened.  A device that does
# not tell how much is left can be moved; its configuration must be known.
COMMANDS = {"REGION_READ": (1, 1), "MIG_GET_PRECOPY_INFO": (0, 0),
            "DATA_SIZE": (1, 0)}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_source_that_refuses_another_command(command, tmp_path):
    skip, code = COMMANDS[command]
    with Case(tmp_path, here=("--fail", f"{command}:EIO,count=0,skip={skip}")
              ) as case:
        case.run().check(code, code)


@pytest.mark.parametrize("fault", [("--close", ",when=before"),
                                   ("--close", ",when=mid"),
                                   ("--close", ",when=unanswered"),
                                   ("--corrupt", ":id"),
                                   ("--corrupt", ":truncated"),
                                   ("--corrupt", ":size-large")])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_source_is_lost_in_another_command(command, fault, tmp_path):
    option, how = fault
    with Case(tmp_path, here=(option, f"{command}{how},"
                              f"skip={COMMANDS[command][0]}")) as case:
        case.run().check(3, 1)


@pytest.mark.parametrize("side", ["here", "there"])
def test_a_device_that_asks_for_memory_meanwhile_is_refused_it(side,
                                                               tmp_path):
    command = "MIG_DATA_READ" if side == "here" else "MIG_DATA_WRITE"
    with Case(tmp_path,
              **{side: ("--inject", f"{command}:dma-read")}) as case:
        case.run().check(0, 0)


@pytest.mark.parametrize("side,codes", [("here", (3, 1)), ("there", (1, 3))])
def test_an_answer_to_nothing_is_the_end_of_a_device(side, codes, tmp_path):
    command = "MIG_DATA_READ" if side == "here" else "MIG_DATA_WRITE"
    with Case(tmp_path, **{side: ("--inject", f"{command}:reply")}) as case:
        case.run().check(*codes)


@pytest.mark.parametrize("fault,received", [
    (("--fail", "REGION_WRITE:EIO"), 1),
    (("--close", "REGION_WRITE,when=before"), 3),
    (("--corrupt", "REGION_WRITE:id"), 3),
])
def test_a_target_that_does_not_take_the_configuration_is_reset(
        fault, received, tmp_path):
    with Case(tmp_path, there=fault) as case:
        case.run().check(1, received)


# Second faults: what was to be the way back.

@pytest.mark.parametrize("leave", ["", ",leave=ERROR"])
@pytest.mark.parametrize("way_back", ["PRE_COPY>RUNNING", "STOP_COPY>STOP",
                                      "STOP>RUNNING_P2P",
                                      "RUNNING_P2P>RUNNING"])
def test_a_source_that_cannot_go_back_is_reset_and_that_is_said(
        way_back, leave, tmp_path):
    offset = 0 if way_back == "PRE_COPY>RUNNING" else LATE
    with Case(tmp_path, here_keys=keys(offset),
              here=("--fail", f"read@{offset}:EIO",
                    "--fail", way_back + leave)) as case:
        case.run().check(3, 1)
        assert "was reset" in case.sent.stderr
        assert case.after_here.faults == 2


def test_a_source_that_can_neither_go_back_nor_be_reset_is_lost(tmp_path):
    with Case(tmp_path, here_keys=keys(LATE),
              here=("--fail", f"read@{LATE}:EIO", "--fail", "STOP_COPY>STOP",
                    "--fail", "DEVICE_RESET")) as case:
        case.run().check(3, 1)
        assert "could not be brought back from STOP_COPY" in case.sent.stderr
        # Nothing but that is needed to go on.
        case.here.set_state("RUNNING")
        assert case.look().after_here.moved_state
        case.goes_on_here()


def test_a_source_that_was_paused_is_paused_again_after_a_reset(tmp_path):
    with Case(tmp_path, here=("--fail", "STOP>STOP_COPY,leave=ERROR")) as case:
        case.here.set_state("STOP")
        case.begin()
        case.end()
        assert (case.sent.code, case.received.code) == (3, 1), case.story()
        assert case.after_here.state == "STOP", case.story()
        assert case.after_here.resets == 1, case.story()


def test_a_source_whose_reset_leaves_it_running_says_so(tmp_path):
    """It was paused, and now it cannot be stopped."""
    with Case(tmp_path, here=("--fail", "STOP>STOP_COPY,leave=ERROR",
                              "--fail", "RUNNING>RUNNING_P2P,skip=1")) as case:
        case.here.set_state("STOP")
        case.begin()
        case.end()
        assert (case.sent.code, case.received.code) == (3, 1), case.story()
        assert "could not be brought back from RUNNING" in case.sent.stderr


def test_a_target_that_cannot_be_reset_says_so(tmp_path):
    with Case(tmp_path, there=("--fail", "RESUMING>STOP", "--fail",
                               "DEVICE_RESET")) as case:
        case.run().check(1, 3)


@pytest.mark.parametrize("fault,sent", [
    ("STOP>RUNNING_P2P", 1),
    ("STOP>RUNNING_P2P,leave=RUNNING_P2P", 4),
    ("STOP>RUNNING_P2P,leave=ERROR", 4),
    ("RUNNING_P2P>RUNNING", 4),
])
def test_an_owner_that_cannot_be_reset_gives_back_only_what_is_stopped(
        fault, sent, tmp_path):
    with Case(tmp_path, there=("--fail", fault, "--fail",
                               "DEVICE_RESET")) as case:
        case.run().check(sent, 3)
