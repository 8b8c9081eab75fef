//! Data source names of probes, URLs of lock servers and HTTP probes, durations: an error never shows a password.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spec::lock::HttpAddress;
use spec::{dsn, duration};

fuzz_target!(|text: &str| {
    for parsed in [dsn::mysql(text), dsn::postgres(text), dsn::redis(text), dsn::amqp(text, Some("u"), Some("p"))] {
        if let Ok(login) = parsed {
            let _ = login.without_password(text);
        }
    }
    if let Ok(server) = text.parse::<HttpAddress>() {
        assert_eq!(server.to_string().parse(), Ok(server));
    }
    let _ = (duration::parse(text), duration::parse_span(text));
});
