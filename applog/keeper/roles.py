"""Who may see what through the keeper. Pure.

Rules:
    1. Roles include one another: an operator sees what is missing and who looked, an auditor every dataset,
       a custodian also gets proofs.
    2. What is not allowed here is denied.
"""

OPERATOR, AUDITOR, CUSTODIAN = "operator", "auditor", "custodian"
ROLES = (OPERATOR, AUDITOR, CUSTODIAN)
"""From the narrowest to the widest."""

_OPERATORS_SEE = ("audit", "coverage")


def may_act_as(given: str, asked: str) -> bool:
    """Whether a user whose role is *given* may ask as *asked*: in a narrower role, never in a wider one."""
    return given in ROLES and asked in ROLES and ROLES.index(asked) <= ROLES.index(given)


def may_see(role: str, dataset: str) -> bool:
    """Whether *role* sees records of *dataset*."""
    return role in (AUDITOR, CUSTODIAN) or (role == OPERATOR and dataset in _OPERATORS_SEE)


def may_prove(role: str) -> bool:
    """Whether *role* gets proofs of records."""
    return role == CUSTODIAN
