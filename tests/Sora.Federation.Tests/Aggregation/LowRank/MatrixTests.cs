using CsCheck;
using Sora.Federation.Aggregation.LowRank;

namespace Sora.Federation.Tests.Aggregation.LowRank;

public class MatrixTests
{
    private static readonly Gen<Matrix> Matrices =
        from rows in Gen.Int[1, 14]
        from columns in Gen.Int[1, 14]
        from rank in Gen.Int[0, 14]
        from seed in Gen.Int[0, 1_000_000]
        select rank == 0
            ? Matrix.From(RoundTesting.Values(seed, rows * columns, 1), rows, columns)
            : Matrix.From(RoundTesting.Values(seed, rows * rank, 1), rows, rank).Times(Matrix.From(RoundTesting.Values(seed + 1, rank * columns, 1), rank, columns));

    [Fact]
    public void Qr_has_orthonormal_columns_whatever_the_rank() =>
        Matrices.Sample(matrix =>
        {
            var (q, r) = matrix.ThinQr();
            AssertEqual(matrix, q.Times(r));
            AssertIdentity(q.Transposed().Times(q), q.Columns);
        }, iter: 200);

    [Fact]
    public void Svd_gives_the_matrix_back_with_falling_singular_values() =>
        Matrices.Sample(matrix =>
        {
            var (u, singular, v) = matrix.Svd();
            Assert.Equal(Math.Min(matrix.Rows, matrix.Columns), singular.Length);
            Assert.Equal(singular.OrderDescending(), singular);
            var scaled = new Matrix(u.Rows, singular.Length);
            for (var column = 0; column < singular.Length; column++)
                for (var row = 0; row < u.Rows; row++)
                    scaled[row, column] = u[row, column] * singular[column];
            AssertEqual(matrix, scaled.Times(v.Transposed()));
        }, iter: 200);

    [Fact]
    public void Singular_values_of_a_known_matrix()
    {
        // [[3, 0], [4, 5]]: the eigenvalues of A A' = [[9, 12], [12, 41]] are 45 and 5.
        var (_, singular, _) = Matrix.From([3, 0, 4, 5], 2, 2).Svd();
        Assert.Equal(Math.Sqrt(45), singular[0], 1e-12);
        Assert.Equal(Math.Sqrt(5), singular[1], 1e-12);
    }

    private static void AssertEqual(Matrix expected, Matrix actual)
    {
        for (var row = 0; row < expected.Rows; row++)
            for (var column = 0; column < expected.Columns; column++)
                Assert.Equal(expected[row, column], actual[row, column], 1e-12);
    }

    private static void AssertIdentity(Matrix matrix, int size)
    {
        for (var row = 0; row < size; row++)
            for (var column = 0; column < size; column++)
                Assert.Equal(row == column ? 1 : 0, matrix[row, column], 1e-12);
    }
}
