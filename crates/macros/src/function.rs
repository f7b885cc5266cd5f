//! The function that an attribute stands before: its head, as far as it matters, and its body.

use proc_macro::{Delimiter, Group, Span, TokenStream, TokenTree};

use crate::expand::Wrong;

/// An `async fn` without arguments.
pub(crate) struct Function {
    /// Other attributes, and whether it is `pub`.
    pub(crate) before: TokenStream,
    /// From `fn` up to the body.
    pub(crate) head: TokenStream,
    pub(crate) body: Group,
    /// Where its name is.
    pub(crate) name: Span,
}

/// Takes it apart.
pub(crate) fn read(function: TokenStream) -> Result<Function, Wrong> {
    let mut tokens: Vec<TokenTree> = function.into_iter().collect();
    let Some(at) = tokens.iter().position(|token| is_word(token, "fn")) else {
        let span = tokens.first().map_or_else(Span::call_site, TokenTree::span);
        return Err(Wrong::at(span, "this is no function: the attribute belongs before an `async fn`".to_owned()));
    };
    let body = match tokens.pop() {
        Some(TokenTree::Group(body)) if body.delimiter() == Delimiter::Brace => body,
        other => {
            let span = other.map_or_else(Span::call_site, |other| other.span());
            return Err(Wrong::at(span, "the function has no body".to_owned()));
        }
    };
    let head = tokens.split_off(at);
    let fn_span = head[0].span();
    let Some(keyword) = tokens.iter().position(|token| is_word(token, "async")) else {
        return Err(Wrong::at(fn_span, "the function is not `async`: write `async fn`".to_owned()));
    };
    tokens.remove(keyword);
    let is_arguments =
        |token: &&TokenTree| matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis);
    if let Some(TokenTree::Group(arguments)) = head.iter().find(is_arguments)
        && !arguments.stream().is_empty()
    {
        return Err(Wrong::at(arguments.span(), "the function has arguments, and nobody gives it any".to_owned()));
    }
    let name = head.get(1).map_or(fn_span, TokenTree::span);
    Ok(Function { before: tokens.into_iter().collect(), head: head.into_iter().collect(), body, name })
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(found) if found.to_string() == word)
}
