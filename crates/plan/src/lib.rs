//! From a Dockerfile and the choices of a caller to stages, variables, and what needs what.

pub mod budget;
pub mod lint;
pub mod plan;
pub mod scope;
pub mod text;
