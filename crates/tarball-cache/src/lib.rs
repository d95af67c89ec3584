//! The local volume of base images and layers, by digest
