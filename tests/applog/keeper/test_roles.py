"""Who may see what: a table, and nothing beside it."""

import pytest

from applog.keeper.roles import ROLES, may_act_as, may_prove, may_see

ALLOWED = {
    "operator": {"audit", "coverage"},
    "auditor": {"audit", "coverage", "flow", "dns", "lease"},
    "custodian": {"audit", "coverage", "flow", "dns", "lease"},
}


@pytest.mark.parametrize("role", [*ROLES, "root", ""])
@pytest.mark.parametrize("dataset", ["audit", "coverage", "flow", "dns", "lease"])
def test_each_role_sees_its_datasets(role: str, dataset: str) -> None:
    """Operators see no traffic; who has no known role sees nothing."""
    assert may_see(role, dataset) == (dataset in ALLOWED.get(role, set()))


@pytest.mark.parametrize("role", [*ROLES, "root", ""])
def test_only_custodians_get_proofs(role: str) -> None:
    """Proofs are evidence, and evidence is the custodian's."""
    assert may_prove(role) == (role == "custodian")


@pytest.mark.parametrize(
    ("given", "asked", "allowed"),
    [
        ("custodian", "operator", True),
        ("custodian", "custodian", True),
        ("auditor", "custodian", False),
        ("operator", "auditor", False),
        ("operator", "operator", True),
        ("custodian", "root", False),
        ("root", "operator", False),
    ],
)
def test_nobody_asks_in_a_wider_role(given: str, asked: str, allowed: bool) -> None:
    """A user may ask as less than he was given, never as more."""
    assert may_act_as(given, asked) == allowed
