//! Model servers on this machine that are looked for.

/// The kinds of model server that people run on their own machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalKind {
    /// Ollama.
    Ollama,
    /// LM Studio.
    LmStudio,
    /// llama.cpp's `llama-server`.
    LlamaCpp,
    /// vLLM.
    Vllm,
}

/// Where on the loopback such a server may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalServer {
    /// The expected kind of server.
    pub kind: LocalKind,
    /// Its port.
    pub port: u16,
}

impl LocalServer {
    /// The ports that they use by default, the likeliest first.
    pub const USUAL: [Self; 4] = [
        Self { kind: LocalKind::Ollama, port: 11434 },
        Self { kind: LocalKind::LmStudio, port: 1234 },
        Self { kind: LocalKind::LlamaCpp, port: 8080 },
        Self { kind: LocalKind::Vllm, port: 8000 },
    ];
}
