@echo off
rem Builds and runs the sora command from this checkout.
echo sora: building, which takes some minutes the first time ... 1>&2
dotnet build "%~dp0src\Sora.Cli\Sora.Cli.csproj" -c Release -v quiet -nologo 1>&2 || exit /b 1
dotnet "%~dp0src\Sora.Cli\bin\Release\net10.0\sora.dll" %*
