//! Calls of functions that stand for tools of the client's, in the client's own words.
use futures_util::StreamExt;

use crate::domain::event::ToolCallDelta;
use crate::domain::prompt::{ClientTool, Parameters};
use crate::ports::{Delta, Deltas};

/// The deltas with the client's names of its tools.
pub(crate) fn named(deltas: Deltas, parameters: &Parameters) -> Deltas {
    if parameters.client_tools.is_empty() {
        return deltas;
    }
    let tools = parameters.client_tools.clone();
    let named = move |delta| match delta {
        Delta::ToolCall(call) => Delta::ToolCall(own(&tools, call)),
        Delta::Text(_)
        | Delta::Reasoning(_)
        | Delta::Refusal(_)
        | Delta::Extra(_)
        | Delta::Usage(_)
        | Delta::Background(_)
        | Delta::Repeated(_)
        | Delta::AskedAgain
        | Delta::Forgotten
        | Delta::Notice { .. }
        | Delta::Finish { .. } => delta,
    };
    deltas.map(move |item| item.map(&named)).boxed()
}

fn own(tools: &[ClientTool], call: ToolCallDelta) -> ToolCallDelta {
    let is = |tool: &&ClientTool| call.name.as_ref() == Some(&tool.function);
    match tools.iter().find(is) {
        // An upstream of the client's own protocol has named it already.
        Some(tool) if !call.custom && call.namespace.is_none() => {
            let ClientTool { name, namespace, custom, .. } = tool.clone();
            ToolCallDelta { name: Some(name), namespace, custom, ..call }
        }
        Some(_) | None => call,
    }
}
