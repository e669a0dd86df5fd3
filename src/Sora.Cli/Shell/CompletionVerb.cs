using System.CommandLine;

namespace Sora.Cli.Shell;

/// <summary>
/// <c>sora completion SHELL</c>: prints a script that asks <c>sora</c> itself what fits, so that completions never go stale.
/// </summary>
internal static class CompletionVerb
{
    private static readonly Dictionary<string, string> Scripts = new()
    {
        ["bash"] = """
            _sora() {
              local line="${COMP_LINE:0:COMP_POINT}" word="${COMP_WORDS[COMP_CWORD]}" candidates
              candidates="$(sora "[suggest:${#line}]" "$line" 2>/dev/null)"
              local IFS=$'\n'
              COMPREPLY=($(compgen -W "$candidates" -- "$word"))
              [[ ${#COMPREPLY[@]} -eq 0 ]] && COMPREPLY=($(compgen -f -- "$word"))
            }
            complete -o nosort -F _sora sora
            """,
        ["zsh"] = """
            #compdef sora
            _sora() {
              local -a candidates
              candidates=("${(@f)$(sora "[suggest:$CURSOR]" "$BUFFER" 2>/dev/null)}")
              compadd -- $candidates
              _files
            }
            compdef _sora sora
            """,
        ["fish"] = """
            function __sora_complete
                set -l line (commandline -cp)
                sora "[suggest:"(string length -- "$line")"]" "$line" 2>/dev/null
            end
            complete -c sora -a '(__sora_complete)'
            """,
        ["pwsh"] = """
            Register-ArgumentCompleter -Native -CommandName sora -ScriptBlock {
                param($word, $line, $position)
                sora "[suggest:$position]" "$line" 2>$null | Where-Object { $_ -like "$word*" } | ForEach-Object {
                    [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
                }
            }
            """,
    };

    public static Command Create()
    {
        var shell = new Argument<string>("shell") { Description = "bash, zsh, fish or pwsh" };
        shell.AcceptOnlyFromAmong([.. Scripts.Keys]);
        var verb = new Verb("completion", "Print a shell completion script.",
            "source <(sora completion bash)",
            "sora completion fish > ~/.config/fish/completions/sora.fish") { shell };
        verb.SetAction(result => Console.Out.WriteLine(Scripts[result.GetRequiredValue(shell)]));
        return verb;
    }
}
