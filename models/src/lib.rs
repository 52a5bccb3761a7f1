//! Training of the models that the gateway scores with: reading the lab's recording, fitting,
//! honest evaluation, and export to ONNX with a card.
//!
//! It sees requests through the same features as the gateway ([`thornwall_detectors::features`]),
//! and what it writes is loaded and compared by the same code that will score with it
//! ([`thornwall_detectors::model`]) before it is put in place. It knows neither Pingora nor gRPC.

pub mod card;
pub mod cases;
pub mod date;
pub mod evaluation;
pub mod forest;
pub mod onnx;
pub mod prior;
pub mod recording;
pub mod table;
pub mod training;
