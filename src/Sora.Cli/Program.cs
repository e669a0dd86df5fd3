using Sora.Cli.Shell;

return await SoraProgram.RunAsync(args);
