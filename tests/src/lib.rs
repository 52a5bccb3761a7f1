//! Programs that measure Thornwall; the tests are in `tests/black_box`.
