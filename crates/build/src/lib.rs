//! Plan, execution, image and outputs: the library face for embedders
