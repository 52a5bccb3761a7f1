//! Three gateways and one limit: what a client gets from all of them together.

use std::{thread, time::Duration};

use crate::{
    harness::{CHROME, Gateway, Origin, wait_for},
    redis::Redis,
};

/// The pace of a client that asks once between two exchanges, which are 100 ms apart.
const EXCHANGE: Duration = Duration::from_millis(150);

fn site(url: &str, limit: &str) -> String {
    format!(
        "[client_address]\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [store]\nkind = \"redis\"\nurl = \"{url}\"\n\
         [[site]]\nname = \"t\"\nhosts = [\"*\"]\nupstream = \"o\"\npipeline = \"p\"\n\
         [[pipeline]]\nname = \"p\"\n[[pipeline.filter]]\nname = \"per_client\"\n\
         rate_limit = {{ {limit} }}\n"
    )
}

/// Three gateways that know of each other.
fn three(url: &str, limit: &str) -> Vec<Gateway> {
    three_before(&Origin::start(), url, limit)
}

/// The same, in front of an origin.
fn three_before(origin: &Origin, url: &str, limit: &str) -> Vec<Gateway> {
    let gateways: Vec<Gateway> = (0..3)
        .map(|_| Gateway::start(origin.port, &site(url, limit)))
        .collect();
    for gateway in &gateways {
        wait_for("the gateways to meet", || limits(gateway)["gateways"] == 3);
    }
    gateways
}

/// What `thornwall status` says about limits.
fn limits(gateway: &Gateway) -> serde_json::Value {
    gateway.status()["store"]["limits"].clone()
}

/// Waits until the three gateways have published what they let through: at once where that was anything, once a
/// second where it was not.
fn wait_for_exchange(redis: &Redis) {
    let before = redis.calls("publish");
    wait_for("an exchange", || redis.calls("publish") >= before + 4);
}

/// Whether a gateway hears nothing of the others.
fn is_alone(gateway: &Gateway) -> bool {
    limits(gateway)["state"] == "each its own"
}

/// How many of `count` requests of a client, one gateway after the other, are served.
fn served(gateways: &[Gateway], client: &str, count: usize, pause: Duration) -> usize {
    let headers = format!("X-Forwarded-For: {client}\r\n{CHROME}");
    let asked = gateways.iter().cycle().take(count);
    asked
        .filter(|gateway| {
            thread::sleep(pause);
            gateway.get("/", &headers).status == 200
        })
        .count()
}

#[test]
fn a_small_limit_is_kept_but_for_one_request_of_each_gateway() {
    let redis = Redis::start();
    let gateways = three(&redis.url(), "requests = 6, per_secs = 3600");
    // All at once: each has its share.
    let blast = served(&gateways, "192.0.2.1", 60, Duration::ZERO);
    assert!((6..=9).contains(&blast), "{blast}");
    // One after the other: what was had at one is gone at the others.
    let slow = served(&gateways, "192.0.2.2", 12, EXCHANGE);
    assert!((6..=9).contains(&slow), "{slow}");
    // Used up at one, a key has one request left at each of the others at most.
    served(&gateways[..1], "192.0.2.3", 30, Duration::from_millis(50));
    wait_for_exchange(&redis);
    let elsewhere = served(&gateways[1..], "192.0.2.3", 20, Duration::ZERO);
    assert!(elsewhere <= 2, "{elsewhere}");
    // Somebody else has all of it.
    assert!(served(&gateways, "192.0.2.4", 6, EXCHANGE) >= 5);
}

#[test]
fn a_large_burst_is_one_gateways_for_who_asks_only_there() {
    let redis = Redis::start();
    let gateways = three(&redis.url(), "requests = 100, per_secs = 3600, burst = 120");
    let page = served(&gateways[..1], "192.0.2.1", 130, Duration::ZERO);
    assert_eq!(page, 120);
    wait_for_exchange(&redis);
    assert_eq!(served(&gateways[1..], "192.0.2.1", 20, Duration::ZERO), 0);
}

#[test]
fn pages_are_counted_together_and_nothing_else_is() {
    let html = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<p>a";
    let limit = "counts = \"pages\", requests = 100, per_secs = 3600, burst = 120";
    for (origin, pages) in [
        (Origin::answering(html, Duration::ZERO), true),
        (Origin::start(), false),
    ] {
        let redis = Redis::start();
        let gateways = three_before(&origin, &redis.url(), limit);
        let served_first = served(&gateways[..1], "192.0.2.1", 130, Duration::ZERO);
        assert_eq!(served_first, if pages { 120 } else { 130 });
        wait_for_exchange(&redis);
        let elsewhere = served(&gateways[1..], "192.0.2.1", 20, Duration::ZERO);
        assert_eq!(elsewhere, if pages { 0 } else { 20 });
    }
}

/// What a person's browser asks for at once, of a limit that has room for it and not for twice as much.
const PAGE: (&str, usize) = ("requests = 50, per_secs = 3600, burst = 120", 120);

#[test]
fn while_redis_stands_still_a_page_passes_wholly_at_each_gateway() {
    let redis = Redis::start();
    let gateways = three(&redis.url(), PAGE.0);
    redis.signal("STOP");
    for gateway in &gateways {
        wait_for("the gateways to be alone", || is_alone(gateway));
    }
    for gateway in &gateways {
        let one = std::slice::from_ref(gateway);
        assert_eq!(served(one, "192.0.2.1", 130, Duration::ZERO), PAGE.1);
    }
    redis.signal("CONT");
}

#[test]
fn without_redis_each_gateway_keeps_small_limits_wholly_and_says_so() {
    let redis = Redis::start();
    let gateways = three(&redis.url(), "requests = 30, per_secs = 3600");
    drop(redis);
    for gateway in &gateways {
        wait_for("the gateways to be alone", || is_alone(gateway));
    }
    for gateway in &gateways {
        let one = std::slice::from_ref(gateway);
        assert_eq!(served(one, "192.0.2.1", 40, Duration::ZERO), 30);
    }
}

#[test]
fn a_limit_that_is_new_while_redis_is_gone_is_each_gateways_own_too() {
    let redis = Redis::start();
    let gateways = three(&redis.url(), "requests = 30, per_secs = 3600");
    drop(redis);
    let gateway = &gateways[0];
    wait_for("the gateway to be alone", || is_alone(gateway));
    let config = std::fs::read_to_string(&gateway.config).unwrap();
    let config = config.replace("requests = 30", "requests = 60");
    std::fs::write(&gateway.config, config).unwrap();
    gateway.signal("HUP");
    wait_for("the reload", || {
        gateway.metric("thornwall_generation") == 2.0
    });
    let one = std::slice::from_ref(gateway);
    assert_eq!(served(one, "192.0.2.1", 70, Duration::ZERO), 60);
}

mod gateways_that_hear_again_know_how_many_they_were {
    use super::hears_again;

    #[test]
    fn the_first_of_them() {
        hears_again(0);
    }

    #[test]
    fn the_last_of_them() {
        hears_again(2);
    }
}

/// Again and again, since what is forgotten at one loss shows at the next: a gateway takes two seconds
/// to find that it hears nothing, which is not to be configured.
fn hears_again(which: usize) {
    let mut redis = Redis::start();
    let gateways = three(&redis.url(), "requests = 30, per_secs = 3600");
    let one = &gateways[which];
    let state = |state: &str| wait_for(state, || limits(one)["state"] == state);
    for loss in 1..=3 {
        // But for the first one, before the others have come back.
        redis.kill();
        state("each its own");
        let client = format!("192.0.2.{loss}");
        let alone = served(std::slice::from_ref(one), &client, 40, Duration::ZERO);
        assert_eq!(alone, 30, "{loss}");
        redis.start_again();
        state("kept together");
        assert_eq!(limits(one)["gateways"], 3, "{loss}");
    }
}

#[test]
fn a_limit_can_be_each_gateways_own() {
    let redis = Redis::start();
    let limit = "requests = 5, per_secs = 3600, shared = false";
    let origin = Origin::start().port;
    let gateways: Vec<Gateway> = (0..2)
        .map(|_| Gateway::start(origin, &site(&redis.url(), limit)))
        .collect();
    assert_eq!(served(&gateways, "192.0.2.1", 20, EXCHANGE), 10);
}

#[test]
fn offences_at_several_gateways_count_together() {
    let redis = Redis::start();
    let limit = "requests = 1, per_secs = 3600, shared = false";
    let site = |url: &str| {
        let filter = site(url, limit).replace(
            "[[pipeline.filter]]\nname = \"per_client\"\n",
            "[[pipeline.filter]]\nname = \"known_bad\"\nblocklist = {}\n\
             [[pipeline.filter]]\nname = \"per_client\"\n\
             decide = { after = 6, within_secs = 600 }\n",
        );
        Gateway::start(Origin::start().port, &filter)
    };
    let gateways = [site(&redis.url()), site(&redis.url())];
    for gateway in &gateways {
        wait_for("the gateways to meet", || limits(gateway)["gateways"] == 2);
    }
    let headers = format!("X-Forwarded-For: 192.0.2.1\r\n{CHROME}");
    // Each refuses fewer than lead to a decision there.
    let answers: Vec<u16> = (0..8)
        .map(|turn| {
            thread::sleep(EXCHANGE);
            gateways[turn % 2].get("/", &headers).status
        })
        .collect();
    assert_eq!(answers, [200, 200, 429, 429, 429, 429, 429, 429]);
    for gateway in &gateways {
        wait_for("the decision", || gateway.get("/", &headers).status == 403);
    }
}
