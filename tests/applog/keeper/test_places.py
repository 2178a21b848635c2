"""Places at the socket: nobody can take all of them from the others."""

from applog.keeper.places import KEPT, PLACES, PLACES_EACH, Places


def test_a_user_has_a_few() -> None:
    """One more is refused until one is given back; others are not touched by it."""
    places = Places()

    taken = [places.take(7, trusted=False) for _ in range(PLACES_EACH)]
    more = places.take(7, trusted=False)
    other = places.take(8, trusted=False)
    places.release(7)
    again = places.take(7, trusted=False)

    assert taken == [None] * PLACES_EACH
    assert more is not None
    assert "of this user" in more
    assert (other, again) == (None, None)


def test_some_are_kept_for_the_trusted() -> None:
    """However many readers there are, root can ask; he, too, has only what there is."""
    places = Places()

    readers = [places.take(user, trusted=False) for user in range(1, PLACES - KEPT + 1)]
    late = places.take(99, trusted=False)
    trusted = [places.take(0, trusted=True) for _ in range(KEPT + 1)]

    assert readers == [None] * (PLACES - KEPT)
    assert f"all {PLACES} places" in str(late)
    assert trusted[:-1] == [None] * KEPT
    assert trusted[-1] is not None
