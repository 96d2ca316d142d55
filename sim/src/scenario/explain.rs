//! A scenario in plain language.

use super::Scenario;
impl Scenario {
    /// Tells.
    pub fn explain(&self) -> String {
        String::new()
    }
}
