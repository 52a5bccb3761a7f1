//! The edge gateway: Pingora, sites, answers, the operator's listener and the commands.
//!
//! This crate turns connections into [`RequestView`]s, asks a pipeline of `thornwall-filters`, and
//! turns its ruling into bytes. It judges nothing itself, and calls no LLM and no trainer.
//!
//! [`RequestView`]: thornwall_detectors::request::RequestView

mod access_log;
mod admin;
mod answer;
mod arrivals;
pub mod cli;
pub mod config;
mod cookies;
mod data_dir;
pub mod edge;
mod ending;
mod escalate;
mod exchange;
mod export;
mod families;
mod feeds;
mod forward;
mod generation;
mod handover;
mod hash;
pub mod hosts;
mod limits;
mod mark;
mod metrics;
mod outcome;
mod permits;
mod proxies;
mod proxy;
mod pseudonymise;
mod quota;
mod recent;
mod record;
mod refusal;
mod reload;
pub mod request;
mod request_id;
mod respond;
mod robots;
mod second_opinion;
mod serve;
mod service_manager;
mod shared_store;
mod state;
mod tarpit;
mod tasks;
mod tls;
mod unread;
mod upstream;
