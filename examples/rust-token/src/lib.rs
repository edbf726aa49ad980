//! A Proxy-Wasm filter that lets a request through only if its header `token` is a prime number.
//!
//! Anything else is answered here, with status 403 and a line that says why. A request that passes
//! carries the number back in the response header `x-token-prime`.

use std::rc::Rc;

use log::{info, warn};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> {
        Box::new(TokenRoot { settings: Rc::new(Settings { header: String::from("token"), quiet: false }) })
    });
}}

/// What the `configuration` of the filter's YAML sets: `HEADER [quiet]`.
#[derive(Clone, Debug)]
struct Settings {
    /// Name of the header that carries the token.
    header: String,
    /// Log nothing for a request that passes.
    quiet: bool,
}

/// Why a request passes or not.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    Prime(u64),
    Composite { number: u64, divisor: u64 },
    NotANumber(String),
    Missing,
}

struct TokenRoot {
    settings: Rc<Settings>,
}

impl Context for TokenRoot {}

impl RootContext for TokenRoot {
    fn on_configure(&mut self, _size: usize) -> bool {
        if let Some(bytes) = self.get_plugin_configuration() {
            let text = String::from_utf8_lossy(&bytes);
            let mut words = text.split_whitespace();
            let header = words.next().unwrap_or("token").to_ascii_lowercase();
            self.settings = Rc::new(Settings { header, quiet: words.any(|word| word == "quiet") });
        }
        info!("configured: {:?}", self.settings);
        true
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(TokenFilter { context_id, settings: Rc::clone(&self.settings), verdict: Verdict::Missing }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct TokenFilter {
    context_id: u32,
    settings: Rc<Settings>,
    verdict: Verdict,
}

impl Context for TokenFilter {}

impl HttpContext for TokenFilter {
    fn on_http_request_headers(&mut self, count: usize, _end_of_stream: bool) -> Action {
        if !self.settings.quiet {
            self.log_headers();
        }
        let text = self.get_http_request_header(&self.settings.header);
        self.verdict = judge(text.as_deref());
        match &self.verdict {
            Verdict::Prime(number) => {
                if !self.settings.quiet {
                    info!("#{} {}: {number} is prime, {count} headers", self.context_id, self.path());
                }
                Action::Continue
            }
            refused => {
                warn!("#{} {}: refused, {refused:?}", self.context_id, self.path());
                let body = refusal(refused);
                self.send_http_response(403, vec![("content-type", "text/plain")], Some(body.as_bytes()));
                Action::Pause
            }
        }
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        if let Verdict::Prime(number) = self.verdict {
            let value = number.to_string();
            self.add_http_response_header("x-token-prime", &value);
        }
        Action::Continue
    }
}

impl TokenFilter {
    fn path(&self) -> String {
        self.get_http_request_header(":path").unwrap_or_default()
    }

    fn log_headers(&self) {
        let headers = self.get_http_request_headers();
        for (name, value) in &headers {
            info!("#{} -> {name}: {value}", self.context_id);
        }
    }
}

/// Reads the header's text as a number and decides.
fn judge(text: Option<&str>) -> Verdict {
    let Some(text) = text else {
        return Verdict::Missing;
    };
    let Ok(token) = text.trim().parse::<u64>() else {
        return Verdict::NotANumber(text.to_string());
    };
    let prime = is_prime(token);
    if prime {
        Verdict::Prime(token)
    } else {
        Verdict::Composite { number: token, divisor: smallest_divisor(token) }
    }
}

/// Trial division by odd numbers up to the square root.
#[inline]
fn is_prime(number: u64) -> bool {
    if number < 2 {
        return false;
    }
    smallest_divisor(number) == number
}

/// The smallest divisor greater than one; the number itself when it is prime (or below two).
fn smallest_divisor(number: u64) -> u64 {
    if number < 4 {
        return number;
    }
    if number % 2 == 0 {
        return 2;
    }
    let mut divisor = 3;
    while divisor <= number / divisor {
        if number % divisor == 0 {
            return divisor;
        }
        divisor += 2;
    }
    number
}

/// The body of the 403.
fn refusal(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Prime(number) => format!("{number} is prime\n"),
        Verdict::Composite { number, divisor } => {
            format!("{number} is not prime: {divisor} divides it\n")
        }
        Verdict::NotANumber(text) => format!("{text:?} is not a number\n"),
        Verdict::Missing => String::from("the header token is missing\n"),
    }
}
