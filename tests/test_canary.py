"""The installed solver's known defect, and the precaution against it."""

from optimizer.encoding.canary import observe


def test_the_guard_refuses_the_form_that_the_solver_gets_wrong() -> None:
    canary = observe()
    assert canary.truth == -70
    assert canary.guard_refuses_bytes
    assert canary.claimed_in_mib == canary.truth
    assert canary.safe


def test_the_installed_solver_still_has_the_defect() -> None:
    """When this fails, or-tools has been mended: say so in the changelog and read the pin's reason again."""
    assert observe().claimed_in_bytes == -28
