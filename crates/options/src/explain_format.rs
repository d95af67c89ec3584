//! The form of a build plan and of what is said about a cache.

use crate::value::choice;

choice! {
    /// The form in which the cache is explained.
    #[derive(Default)]
    pub enum ExplainFormat {
        /// For people.
        #[default]
        Text = "text",
        /// For programs.
        Json = "json",
    }
}
