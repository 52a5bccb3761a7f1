//! The edge gateway: Pingora, sites, answers, the operator's listener and the commands.
//!
//! This crate turns connections into [`RequestView`]s, asks a pipeline of `thornwall-filters`, and
//! turns its ruling into bytes. It judges nothing itself, and calls no LLM and no trainer.
//!
//! [`RequestView`]: thornwall_detectors::request::RequestView

pub mod access_log;
pub mod admin;
pub mod answer;
pub mod arrivals;
pub mod cli;
pub mod config;
mod cookies;
pub mod data_dir;
pub mod edge;
pub mod ending;
pub mod escalate;
pub mod exchange;
pub mod export;
mod families;
pub mod feeds;
pub mod forward;
pub mod generation;
pub mod handover;
mod hash;
pub mod hosts;
pub mod limits;
mod mark;
pub mod metrics;
pub mod outcome;
pub mod proxies;
pub mod proxy;
pub mod recent;
pub mod record;
mod refusal;
pub mod reload;
pub mod request;
pub mod request_id;
pub mod robots;
mod second_opinion;
pub mod serve;
pub mod service_manager;
pub mod shared;
pub mod shares;
pub mod state;
pub mod tarpit;
mod tasks;
pub mod tls;
pub mod unread;
pub mod upstream;
pub mod veil;
