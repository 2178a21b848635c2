"""The keeper: what seals, signs, deletes and verifies, and answers those who hold no keys."""
