//! Whether a message's template is sound: it parses, and every variable in it is one that the event has.

use std::collections::BTreeSet;
use tera::Template;
use tera::ast::{Expr, ExprVal, FunctionCall, Node};

/// What every message has beside the facts of its event.
const LAB: &str = "lab";

/// # Errors
/// What is wrong, in one sentence.
pub fn check(name: &str, text: &str, facts: &[&str]) -> Result<(), String> {
    let template = Template::new(name, None, text)
        .map_err(|error| laas_core::failure::chain(&error).replace('\n', " "))?;
    let mut names = Names {
        known: facts
            .iter()
            .copied()
            .chain([LAB, "loop", "__tera_context"])
            .map(str::to_owned)
            .collect(),
        unknown: BTreeSet::new(),
    };
    names.nodes(&template.ast);
    match names.unknown.len() {
        0 => Ok(()),
        _ => Err(format!(
            "it uses `{}`; the event has `{}` and `{LAB}`",
            names.unknown.into_iter().collect::<Vec<_>>().join("`, `"),
            facts.join("`, `")
        )),
    }
}

/// The variables of a template. What a loop or a `set` names is known from there on, which is enough to find a typo.
struct Names {
    known: BTreeSet<String>,
    unknown: BTreeSet<String>,
}

impl Names {
    fn nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            match node {
                Node::VariableBlock(_, expr) => self.expr(expr),
                Node::Set(_, set) => {
                    self.expr(&set.value);
                    self.known.insert(set.key.clone());
                }
                Node::FilterSection(_, section, _) => {
                    self.call(&section.filter);
                    self.nodes(&section.body);
                }
                Node::Block(_, block, _) => self.nodes(&block.body),
                Node::Forloop(_, forloop, _) => {
                    self.expr(&forloop.container);
                    self.known.extend(forloop.key.clone());
                    self.known.insert(forloop.value.clone());
                    self.nodes(&forloop.body);
                    self.nodes(forloop.empty_body.as_deref().unwrap_or_default());
                }
                Node::If(condition, _) => {
                    for (_, expr, body) in &condition.conditions {
                        self.expr(expr);
                        self.nodes(body);
                    }
                    if let Some((_, body)) = &condition.otherwise {
                        self.nodes(body);
                    }
                }
                // Other files and macros are not there when a message is written.
                Node::Extends(..) | Node::Include(..) | Node::ImportMacro(..) | Node::MacroDefinition(..) => {
                    self.unknown.insert("another template".to_owned());
                }
                Node::Super
                | Node::Text(_)
                | Node::Raw(..)
                | Node::Break(_)
                | Node::Continue(_)
                | Node::Comment(..) => {}
            }
        }
    }

    fn expr(&mut self, expr: &Expr) {
        self.value(&expr.val);
        expr.filters.iter().for_each(|filter| self.call(filter));
    }

    fn call(&mut self, call: &FunctionCall) {
        call.args.values().for_each(|arg| self.expr(arg));
    }

    fn value(&mut self, value: &ExprVal) {
        match value {
            ExprVal::Ident(name) => self.ident(name),
            ExprVal::Math(math) => {
                self.expr(&math.lhs);
                self.expr(&math.rhs);
            }
            ExprVal::Logic(logic) => {
                self.expr(&logic.lhs);
                self.expr(&logic.rhs);
            }
            ExprVal::In(within) => {
                self.expr(&within.lhs);
                self.expr(&within.rhs);
            }
            ExprVal::Test(test) => {
                self.ident(&test.ident);
                test.args.iter().for_each(|arg| self.expr(arg));
            }
            ExprVal::FunctionCall(call) => self.call(call),
            ExprVal::Array(items) => items.iter().for_each(|item| self.expr(item)),
            ExprVal::StringConcat(concat) => concat.values.iter().for_each(|value| self.value(value)),
            ExprVal::MacroCall(call) => {
                self.unknown.insert(format!("macro {}", call.name));
            }
            ExprVal::String(_) | ExprVal::Int(_) | ExprVal::Float(_) | ExprVal::Bool(_) => {}
        }
    }

    fn ident(&mut self, path: &str) {
        let name = path.split(['.', '[']).next().unwrap_or_default();
        if !self.known.contains(name) {
            self.unknown.insert(name.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_found_wherever_it_stands() {
        let facts = ["host", "hosts"];
        for good in [
            "",
            "{{ host }} {{ host | default(value=lab.contact) }}",
            "{% for h in hosts %}{{ loop.index }} {{ h.name }}{% else %}{{ host }}{% endfor %}",
            "{% set x = host %}{{ x }}",
            "{# anything #}{% raw %}{{ nothing }}{% endraw %}",
        ] {
            assert_eq!(check("t", good, &facts), Ok(()), "{good}");
        }
        for bad in [
            "{{ hots }}",
            "{{ hots.name }}",
            "{% if hots %}{% endif %}",
            "{% if host %}{% elif host == hots %}{% endif %}",
            "{% if hots is defined %}{% endif %}",
            "{{ host | default(value=hots) }}",
            "{{ host ~ hots }}",
            "{% for h in hots %}{% endfor %}",
            "{% include \"other.tera\" %}",
            "{{ host",
            "{% if host %}",
        ] {
            assert!(check("t", bad, &facts).is_err(), "{bad}");
        }
    }
}
