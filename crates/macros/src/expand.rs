//! What an attribute makes of a function.

use std::fmt::Write;
use std::iter::once;

use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

use crate::function::{self, Function};
use crate::settings::{self, Settings};

/// Which attribute it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Main,
    Test,
}

/// What is wrong, and where.
pub(crate) struct Wrong {
    span: Span,
    why: String,
}

impl Wrong {
    pub(crate) fn at(span: Span, why: String) -> Wrong {
        Wrong { span, why }
    }

    /// An error of the compiler's.
    fn tokens(self) -> TokenStream {
        let Wrong { span, why } = self;
        let mut text = Literal::string(&why);
        text.set_span(span);
        let mut message = Group::new(Delimiter::Brace, once(TokenTree::from(text)).collect());
        message.set_span(span);
        let punct = |c: char, spacing| {
            let mut punct = Punct::new(c, spacing);
            punct.set_span(span);
            TokenTree::from(punct)
        };
        let path = |name: &str| [punct(':', Spacing::Joint), punct(':', Spacing::Alone), Ident::new(name, span).into()];
        let tokens = path("core").into_iter().chain(path("compile_error"));
        tokens.chain([punct('!', Spacing::Alone), message.into()]).collect()
    }
}

pub(crate) fn expand(kind: Kind, settings: TokenStream, function: TokenStream) -> TokenStream {
    let function = match function::read(function.clone()) {
        Ok(function) => function,
        // As it stands, so that nobody misses it.
        Err(wrong) => return wrong.tokens().into_iter().chain(function).collect(),
    };
    match settings::read(settings) {
        Ok(settings) => expanded(kind, &settings, function),
        // As it would be without settings: one error is enough.
        Err(wrong) => {
            let function = expanded(kind, &Settings::default(), function);
            wrong.tokens().into_iter().chain(function).collect()
        }
    }
}

/// The function, with a body that runs the one that it had.
fn expanded(kind: Kind, settings: &Settings, function: Function) -> TokenStream {
    let Function { before, head, body, name } = function;
    let mut code = String::new();
    if kind == Kind::Test {
        code += "#[::core::prelude::v1::test]";
    }
    let attribute: TokenStream = parsed(&code);
    let is_multi_thread = settings.multi_thread.unwrap_or(kind == Kind::Main || settings.workers.is_some());
    let of_flavor = if is_multi_thread { "new_multi_thread" } else { "new_current_thread" };
    let function = if kind == Kind::Main { "main" } else { "test" };
    let mut runtime = format!("let mut runtime = ::pollscope_probe::macros::Builder::{of_flavor}();");
    if let Some((workers, _)) = settings.workers {
        let _ = write!(runtime, "runtime.worker_threads({workers}usize);");
    }
    let threshold = settings.threshold.map_or("::core::option::Option::None".to_owned(), |threshold| {
        let nanos = threshold.as_nanos();
        format!("::core::option::Option::Some(::core::time::Duration::from_nanos({nanos}u64))")
    });
    let call = located(parsed(&format!("::pollscope_probe::macros::{function}")), name);
    let mut arguments = parsed(&format!("{{ {runtime} runtime }}, {threshold}, async "));
    arguments.extend(once(TokenTree::from(body)));
    let mut arguments = Group::new(Delimiter::Parenthesis, arguments);
    arguments.set_span(Span::mixed_site().located_at(name));
    let inside: TokenStream = call.into_iter().chain(once(TokenTree::from(arguments))).collect();
    let body = TokenTree::from(Group::new(Delimiter::Brace, inside));
    attribute.into_iter().chain(before).chain(head).chain(once(body)).collect()
}

/// Code of ours, which parses.
fn parsed(code: &str) -> TokenStream {
    code.parse().unwrap_or_default()
}

/// As if it stood there: the place that the future is known by.
fn located(tokens: TokenStream, at: Span) -> TokenStream {
    let located = |mut token: TokenTree| {
        token.set_span(token.span().located_at(at));
        token
    };
    tokens.into_iter().map(located).collect()
}
