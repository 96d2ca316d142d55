//! One fact for each test.
